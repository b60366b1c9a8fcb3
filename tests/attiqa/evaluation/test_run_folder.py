"""Whom the folder of a measurement belongs to."""

import json

import pytest

from attiqa.errors import CheckpointError
from attiqa.evaluation.run_folder import begin

MINE, OTHER = {"seed": 1, "epochs": 3}, {"seed": 1, "epochs": 9}


def test_the_same_measurement_finds_its_results(tmp_path):
    assert begin(tmp_path / "run", MINE) is None
    assert begin(tmp_path / "run", MINE) is None
    (tmp_path / "run" / "results.json").write_text(json.dumps({"srocc": 0.5}))
    assert begin(tmp_path / "run", MINE) == {"srocc": 0.5}


def test_another_measurement_is_refused_once_there_is_something(tmp_path):
    begin(tmp_path, OTHER)
    assert begin(tmp_path, MINE) is None  # the other one wrote nothing else
    (tmp_path / "split_1.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"another measurement: .*epochs"):
        begin(tmp_path, OTHER)
    assert json.loads((tmp_path / "run.json").read_text()) == MINE


def test_a_claimed_folder_belongs_to_who_came_first(tmp_path):
    begin(tmp_path, MINE, claimed=True)
    with pytest.raises(CheckpointError, match="epochs"):
        begin(tmp_path, OTHER, claimed=True)
    assert begin(tmp_path, MINE, claimed=True) is None
