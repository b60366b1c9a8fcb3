import json

import numpy as np
import pytest

from experiments.upkeep.compare_revisions import compare


def photograph(folder, content: bytes, exposure: float, score: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "a.jpg").write_bytes(content)
    told = {"parameters": {"exposure": {"value": exposure}}, "judged": {"score": {"after": score}}}
    (folder / "a.jpg.json").write_text(json.dumps(told))


def test_differences_are_told(tmp_path):
    photograph(tmp_path / "one", b"same", 0.5, 0.7)
    photograph(tmp_path / "two", b"same", 0.5, 0.7)
    photograph(tmp_path / "three", b"else", 0.25, 0.8)
    assert compare(tmp_path / "one", tmp_path / "two") == [("a.jpg", "same", 0.0, 0.0)]
    [(name, kind, parameters, scores)] = compare(tmp_path / "one", tmp_path / "three")
    assert (name, kind, parameters) == ("a.jpg", "other", 0.25)
    assert scores == pytest.approx(0.1)
    (tmp_path / "two" / "a.jpg").rename(tmp_path / "two" / "b.jpg")
    missing = compare(tmp_path / "one", tmp_path / "two")
    assert [row[1] for row in missing] == ["missing", "missing"]
    assert np.isinf(missing[0][2])
