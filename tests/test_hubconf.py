"""`torch.hub.load` of a local copy of the repository."""

import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from attiqa.model.quality_model import load_model

ROOT = Path(__file__).parents[1]


def test_the_embedded_model_by_torch_hub():
    model: Any = torch.hub.load(str(ROOT), "attiqa", source="local")
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(model.predict(images).score, load_model().predict(images).score)
    referee: Any = torch.hub.load(str(ROOT), "attiqa", source="local", name="attiqa-referee")
    assert referee.card.name == "attiqa-referee"


def test_nothing_else_is_an_entry_point():
    content = runpy.run_path(str(ROOT / "hubconf.py"))
    names = [name for name, value in content.items() if callable(value) and name[0] != "_"]
    assert names == ["attiqa"]
    for name in content["dependencies"]:
        assert find_spec(name)
