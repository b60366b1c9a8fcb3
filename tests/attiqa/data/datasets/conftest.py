"""Every published layout in miniature: a writer of its label files for given names and scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from attiqa.data.rated_photos import Split

Writer = Callable[[Path, Sequence[str], Sequence[float]], None]


def write_koniq(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    sets = ["training", "training", "validation", "test", "test"]
    sets += ["training"] * (len(names) - len(sets))
    table = {"image_name": names, "c1": 0.0, "MOS": mos, "SD": 0.5, "set": sets[: len(names)]}
    pd.DataFrame(table).to_csv(folder / "koniq10k_distributions_sets.csv", index=False)


def write_clive(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    (folder / "Data").mkdir(exist_ok=True)
    everything = [*(f"t{index}.bmp" for index in range(1, 8)), *names]
    cells = np.empty((len(everything), 1), object)
    cells[:, 0] = everything
    savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    scores = np.array([[50.0] * 7 + list(mos)])
    savemat(folder / "Data" / "AllMOS_release.mat", {"AllMOS_release": scores})


def spaq_table(names: Sequence[str], mos: Sequence[float]) -> pd.DataFrame:
    count = len(names)
    attributes = {
        "Brightness": np.full(count, 30.0),
        "Colorfulness": np.full(count, 40.0),
        "Contrast": np.full(count, 20.0),
        "Noisiness": np.linspace(45.0, 55.0, count),
        "Sharpness": np.full(count, 10.0),
    }
    return pd.DataFrame({"Image name": names, "MOS": mos} | attributes)


def write_spaq(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    (folder / "Annotations").mkdir(exist_ok=True)
    path = folder / "Annotations" / "MOS and Image attribute scores.xlsx"
    spaq_table(names, mos).to_excel(path, index=False)


def write_flive(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    unique = list(dict.fromkeys(names))
    extra = pd.DataFrame({"name": ["EE371R/rq59.jpg"], "mos": [60.0]})
    scores = pd.concat([pd.DataFrame({"name": names, "mos": mos}), extra])
    scores.to_csv(folder / "labels_image.csv", index=False)
    learning = pd.DataFrame({"name_image": unique[:4], "is_valid": [False, False, False, True]})
    learning.to_csv(folder / "labels=640_padded.csv", index=False)
    test = pd.DataFrame({"mos_image": 50.0, "name_image": unique[4:], "name_patch": "patches/a"})
    test.to_csv(folder / "labels640.csv", index=False)


def write_ava(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    """Scores must be whole or half: all votes for one number, or for two neighbours."""
    (folder / "aesthetics_image_lists").mkdir(exist_ok=True)
    rows = []
    for index, (name, score) in enumerate(zip(names, mos, strict=True), 1):
        votes = [0] * 10
        votes[int(np.floor(score)) - 1] += 1
        votes[int(np.ceil(score)) - 1] += 1
        rows.append(" ".join(map(str, [index, name.removesuffix(".jpg"), *votes, 1, 22, 1396])))
    (folder / "AVA.txt").write_text("\n".join(rows) + "\n")
    tested = "".join(f"{name.removesuffix('.jpg')}\n" for name in (*names[-2:], "999999.jpg"))
    (folder / "aesthetics_image_lists" / "generic_test.jpgl").write_text(tested)


def write_uhdiqa(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    sets, files = zip(*(name.split("/") for name in names), strict=True)
    table = {"image_name": files, "quality_mos": mos, "set": sets, "subset": "", "views": 12}
    pd.DataFrame(table).to_csv(folder / "uhd-iqa-metadata.csv", index=False)


def write_agiqa3k(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    prompts = ["statue of a man", "a tray of sushi, anime style"] * len(names)
    styles = [None, "anime style"] * len(names)
    table = {
        "name": names,
        "prompt": prompts[: len(names)],
        "adj1": "",
        "adj2": "",
        "style": styles[: len(names)],
        "mos_quality": mos,
        "std_quality": 0.2,
        "mos_align": 1.0,
        "std_align": 0.6,
    }
    pd.DataFrame(table).to_csv(folder / "data.csv", index=False)


def write_kadid(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    table = {"dist_img": names, "ref_img": [f"{n[:3]}.png" for n in names], "dmos": mos, "var": 0.5}
    pd.DataFrame(table).to_csv(folder / "dmos.csv", index=False)


def write_tid2013(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    lines = [f"{score:.5f} {name}\n" for score, name in zip(mos, names, strict=True)]
    (folder / "mos_with_names.txt").write_text("".join(lines))


def write_biq2021(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    rows = [f"{name},{score},,\n" for name, score in zip(names, mos, strict=True)]
    for file, part in (("Train", rows[:3] + rows[5:]), ("Test", rows[3:5])):
        text = "Image Name,MOS,,\n" + "".join(part)
        (folder / f"{file} (Images and MOS).csv").write_text(text)


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
