"""Our readers as a data set of pyiqa; its base class is asked for by its own constructor alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from attiqa.data.pyiqa_dataset import make_class, register
from attiqa.errors import DatasetLayoutError

COUNT = 20


class Base:
    """The order in which pyiqa's `BaseIQADataset` calls what a data set overrides."""

    init_path_mos: Callable[[dict], None]
    get_split: Callable[[dict], None]

    def __init__(self, opt: dict) -> None:
        self.phase = opt["phase"]
        self.init_path_mos(opt)
        self.normalised = (opt["mos_range"], opt["lower_better"])
        self.get_split(opt)
        self.trans, self.img_range = to_tensor, 1.0


@pytest.fixture
def folder(tmp_path) -> Path:
    rows = ["name,mos,group"]
    for number in range(COUNT):
        Image.new("RGB", (40, 32), (10 * number, 0, 0)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{number},g{number // 2}")
    (tmp_path / "scores.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def options(folder: Path, **changes) -> dict:
    opt = {"type": "AttiqaDataset", "name": "ours", "dataset": "plain", "phase": "train"}
    return opt | {"dataroot_target": str(folder), "scale": [0, 20], **changes}


@pytest.fixture(params=["as pyiqa calls it", "by pyiqa"])
def build(request):
    """Make the data set with a stand-in for pyiqa's base class, and by pyiqa where it is there."""
    if request.param == "by pyiqa":
        pyiqa = pytest.importorskip("pyiqa", reason="needs the extra pyiqa")
        register()
        return pyiqa.data.build_dataset
    return make_class(Base)


@pytest.mark.filterwarnings("ignore")  # of pyiqa and what it imports
def test_photographs_and_scores(folder, build):
    found = build(options(folder))
    assert [mos for _, mos in found.paths_mos] == list(range(COUNT))
    item = found[7]
    assert item["img_path"] == str(folder / "7.png")
    torch.testing.assert_close(item["img"][:, 0, 0], torch.tensor([70 / 255, 0, 0]))
    assert item["img"].shape == (3, 32, 40)
    assert item["mos_label"].tolist() == [7]


@pytest.mark.filterwarnings("ignore")
def test_parts_of_a_random_split(folder, build):
    parts = {
        phase: {
            int(Path(path).stem)
            for path, _ in build(
                options(folder, phase=phase, split_index=2, validation=0.1)
            ).paths_mos
        }
        for phase in ("train", "val", "test")
    }
    assert {phase: len(part) for phase, part in parts.items()} == {"train": 14, "val": 2, "test": 4}
    assert set.union(*parts.values()) == set(range(COUNT))
    groups = [{number // 2 for number in part} for part in parts.values()]
    assert len(set.union(*groups)) == sum(map(len, groups))  # none is in two parts
    other = build(options(folder, phase="test", split_index=1)).paths_mos
    assert {int(Path(path).stem) for path, _ in other} != parts["test"]
    with pytest.raises(DatasetLayoutError, match="no official split"):
        build(options(folder, split_index="official"))


def test_the_scale_is_known_to_the_base_class(folder):
    assert make_class(Base)(options(folder)).normalised == ((0.0, 20.0), False)


@pytest.mark.filterwarnings("ignore")
def test_pyiqa_normalises_by_the_scale(folder):
    pyiqa = pytest.importorskip("pyiqa", reason="needs the extra pyiqa")
    register()
    found = pyiqa.data.build_dataset(options(folder, mos_normalize=True))
    np.testing.assert_allclose([mos for _, mos in found.paths_mos], np.arange(COUNT) / 20)
