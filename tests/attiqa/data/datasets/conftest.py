"""Every published layout in miniature: a writer of its label files for given names and scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from attiqa.data.rated_photos import Split
from tests.attiqa.data.datasets.layouts import (
    Writer,
    write_agiqa3k,
    write_ava,
    write_biq2021,
    write_clive,
    write_flive,
    write_kadid,
    write_koniq,
    write_spaq,
    write_tid2013,
    write_uhdiqa,
)


@dataclass(frozen=True)
class Miniature:
    """Five photographs in a published layout.

    Attributes:
        names: As in the label file.
        mos: Rising.
        write: Writes the label files for names and scores.
        images: Folder of the images.
        too_high: A score out of the published range.
        counts: What the reader takes for the published numbers: its constants, made small.
    """

    names: tuple[str, ...]
    mos: tuple[float, ...]
    write: Writer
    images: str
    too_high: float
    counts: dict[str, Any]


MINIATURES = {
    "koniq": Miniature(
        ("1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"),
        (3.9, 20.0, 50.0, 80.0, 88.4),
        write_koniq,
        "1024x768",
        100.5,
        {"ROWS": 5, "PARTS": {"train": 2, "validation": 1, "test": 2}},
    ),
    "clive": Miniature(
        ("3.bmp", "4.bmp", "5.bmp", "6.bmp", "1160.JPG"),
        (3.4, 20.0, 50.0, 80.0, 92.4),
        write_clive,
        "Images",
        100.5,
        {"ROWS": 5},
    ),
    "spaq": Miniature(
        ("00001.jpg", "00002.jpg", "00003.jpg", "00004.jpg", "00005.jpg"),
        (0.0, 20.0, 50.0, 80.0, 100.0),
        write_spaq,
        "TestImage",
        100.5,
        {"ROWS": 5},
    ),
    "flive": Miniature(
        (
            "blur_dataset/a.jpg",
            "voc/b.jpg",
            "blur_dataset/c.jpg",
            "voc/d.jpg",
            "blur_dataset/e.jpg",
        ),
        (0.0, 20.0, 50.0, 80.0, 94.3),
        write_flive,
        "database",
        100.5,
        {"ROWS": 5, "PARTS": {"train": 3, "validation": 1, "test": 1}},
    ),
    "ava": Miniature(
        ("953619.jpg", "953958.jpg", "954184.jpg", "954113.jpg", "953980.jpg"),
        (1.0, 2.5, 5.0, 7.5, 10.0),
        write_ava,
        "images",
        0.0,  # means cannot leave the range; a row without votes is tested by itself
        {"ROWS": 5, "TESTED": 3, "ABSENT": 1},
    ),
    "uhdiqa": Miniature(
        ("training/1.jpg", "training/2.jpg", "validation/3.jpg", "test/4.jpg", "test/5.jpg"),
        (0.11, 0.25, 0.5, 0.75, 0.89),
        write_uhdiqa,
        ".",
        1.1,
        {"ROWS": 5, "PARTS": {"train": 2, "validation": 1, "test": 2}},
    ),
    "agiqa3k": Miniature(
        (
            "AttnGAN_normal_000.jpg",
            "sd1.5_lowstep_000.jpg",
            "glide_normal_000.jpg",
            "midjourney_lowstep_299.jpg",
            "xl2.2_normal_010.jpg",
        ),
        (0.0, 1.0, 2.5, 3.5, 4.49),
        write_agiqa3k,
        ".",
        5.1,
        {"ROWS": 5},
    ),
    "kadid": Miniature(
        ("I01_01_01.png", "I01_25_05.png", "I02_01_01.png", "I02_02_03.png", "I81_10_04.png"),
        (1.0, 2.0, 3.0, 4.0, 4.93),
        write_kadid,
        "images",
        5.1,
        {"ROWS": 5},
    ),
    "tid2013": Miniature(
        ("I01_01_1.bmp", "I01_24_5.bmp", "I02_01_1.bmp", "I02_02_3.bmp", "i25_10_4.bmp"),
        (0.24, 2.0, 3.0, 4.0, 7.21),
        write_tid2013,
        "distorted_images",
        9.1,
        {"ROWS": 5},
    ),
    "biq2021": Miniature(
        ("ss01 (1).jpg", "ss01 (2).jpg", "ss01 (3).jpg", "ss01 (4).jpg", "ss01 (5).jpg"),
        (0.0, 0.25, 0.5, 0.75, 1.0),
        write_biq2021,
        "Images",
        1.1,
        {"PARTS": {"train": 3, "test": 2}},
    ),
}


def save_images(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(folder / name)


@pytest.fixture
def indices() -> Callable[[Split | None], list[list[int]]]:
    """Lists a split's three parts."""

    def list_parts(split: Split | None) -> list[list[int]]:
        assert split is not None
        return [part.tolist() for part in (split.train, split.validation, split.test)]

    return list_parts


@pytest.fixture(params=MINIATURES)
def dataset(request: pytest.FixtureRequest) -> str:
    """The name of a data set; a test that asks for it runs for all of them."""
    return request.param


@pytest.fixture
def miniature(dataset: str, tmp_path: Path) -> Miniature:
    """The data set's miniature, laid out in `tmp_path`."""
    mini = MINIATURES[dataset]
    mini.write(tmp_path, mini.names, mini.mos)
    save_images(tmp_path / mini.images, mini.names)
    return mini


@pytest.fixture
def published(dataset: str, miniature: Miniature, monkeypatch: pytest.MonkeyPatch) -> Miniature:
    """The same, and the reader takes its numbers for the published ones."""
    module = import_module(f"attiqa.data.datasets.{dataset}")
    for name, value in miniature.counts.items():
        monkeypatch.setattr(module, name, value)
    return miniature
