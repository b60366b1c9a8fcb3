"""Writers of the label files of every published layout, for given names and scores."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import savemat

Writer = Callable[[Path, Sequence[str], Sequence[float]], None]


def write_koniq(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    sets = ["training", "training", "validation", "test", "test"]
    sets += ["training"] * (len(names) - len(sets))
    # the votes of the first photograph of the published file, and their deviation
    votes = {"c1": 0.0, "c2": 0.0, "c3": 25 / 105, "c4": 73 / 105, "c5": 7 / 105}
    spread = {"MOS": mos, "SD": 0.527277894494, "set": sets[: len(names)]}
    table = {"image_name": names, **votes, "c_total": 105, **spread}
    pd.DataFrame(table).to_csv(folder / "koniq10k_distributions_sets.csv", index=False)


def write_clive(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    (folder / "Data").mkdir(exist_ok=True)
    everything = [*(f"t{index}.bmp" for index in range(1, 8)), *names]
    cells = np.empty((len(everything), 1), object)
    cells[:, 0] = everything
    savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    scores = np.array([[50.0] * 7 + list(mos)])
    savemat(folder / "Data" / "AllMOS_release.mat", {"AllMOS_release": scores})
    deviations = np.arange(len(everything), dtype=float)[None]
    savemat(folder / "Data" / "AllStdDev_release.mat", {"AllStdDev_release": deviations})


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
    (folder / "mos_std.txt").write_text("".join(f"0.{n}\n" for n in range(1, len(names) + 1)))


def write_biq2021(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    rows = [f"{name},{score},,\n" for name, score in zip(names, mos, strict=True)]
    for file, part in (("Train", rows[:3] + rows[5:]), ("Test", rows[3:5])):
        text = "Image Name,MOS,,\n" + "".join(part)
        (folder / f"{file} (Images and MOS).csv").write_text(text)


def write_uhdiqa(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    sets, files = zip(*(name.split("/") for name in names), strict=True)
    table = {"image_name": files, "quality_mos": mos, "set": sets, "subset": "", "views": 12}
    pd.DataFrame(table).to_csv(folder / "uhd-iqa-metadata.csv", index=False)
