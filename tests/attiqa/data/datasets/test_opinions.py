"""How far opinions differ, as the data sets publish it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from attiqa.data.datasets.koniq import koniq_labels, read_koniq
from attiqa.data.datasets.registry import load_dataset
from attiqa.errors import DatasetLayoutError

DEVIATIONS = {
    "koniq": [0.527277894494 * 99 / 4] * 5,  # from 1 to 5 on 1 to 100
    "clive": [7.0, 8.0, 9.0, 10.0, 11.0],  # the first seven entries are no photographs of the set
    "ava": [0.0, 0.5, 0.0, 0.5, 0.0],
    "agiqa3k": [0.2] * 5,
    "kadid": [0.5**0.5] * 5,  # of the variance
    "tid2013": [0.1, 0.2, 0.3, 0.4, 0.5],
}


@pytest.mark.parametrize("dataset", DEVIATIONS, indirect=True)
def test_deviations_of_opinions(published, dataset, tmp_path):
    photos = load_dataset(dataset, tmp_path)
    assert photos.deviations == pytest.approx(DEVIATIONS[dataset])
    assert not {"deviation", "c3"} & set(photos.factors)


@pytest.mark.parametrize("dataset", ["spaq", "flive", "biq2021"], indirect=True)
def test_sets_that_publish_none(published, dataset, tmp_path):
    photos = load_dataset(dataset, tmp_path)
    assert photos.deviations is None
    assert photos.votes is None


@pytest.mark.parametrize("dataset", ["koniq"], indirect=True)
def test_votes_of_koniq(published, tmp_path):
    (tmp_path / "1024x768" / "2.jpg").unlink()
    photos = read_koniq(tmp_path, subset=True)
    assert photos.votes is not None
    assert photos.votes == pytest.approx(np.tile([0, 0, 25 / 105, 73 / 105, 1 / 15], (4, 1)))
    path = tmp_path / "koniq10k_distributions_sets.csv"
    table = pd.read_csv(path)
    table.loc[3, "c4"] = 0.5
    table.to_csv(path, index=False)
    with pytest.raises(DatasetLayoutError, match=r"votes that sum to 1; 1 rows differ: 4\.jpg"):
        read_koniq(tmp_path, subset=True)
    table.assign(c4=73 / 105, SD=-0.1).to_csv(path, index=False)
    with pytest.raises(DatasetLayoutError, match=r"deviation in \[0, 99\]; 5 rows differ"):
        read_koniq(tmp_path, subset=True)


@pytest.mark.data
def test_the_published_deviations_of_koniq_are_those_of_its_votes(data):
    labels = koniq_labels(data / "labels")
    counts = pd.read_csv(data / "labels" / "koniq10k_distributions_sets.csv")["c_total"].to_numpy()
    assert labels.votes is not None
    levels = np.arange(1, 6)
    means = labels.votes @ levels
    variance = ((levels - means[:, None]) ** 2 * labels.votes).sum(axis=1) * counts / (counts - 1)
    found = np.asarray(labels.table["deviation"]) / 24.75
    assert found == pytest.approx(np.sqrt(variance), abs=1e-4)
    assert found.mean() / 4 == pytest.approx(0.144, abs=5e-4)


@pytest.mark.parametrize("dataset", ["ava"], indirect=True)
def test_votes_of_ava(published, tmp_path):
    """First row of AVA.txt: 0 1 5 17 38 36 15 6 5 1."""
    path = tmp_path / "AVA.txt"
    first = "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396"
    path.write_text("\n".join([first, *path.read_text().splitlines()[1:]]) + "\n")
    photos = load_dataset("ava", tmp_path)
    assert photos.votes is not None
    assert photos.deviations is not None
    assert photos.votes[0] == pytest.approx(np.array([0, 1, 5, 17, 38, 36, 15, 6, 5, 1]) / 124)
    votes = np.repeat(np.arange(1, 11), [0, 1, 5, 17, 38, 36, 15, 6, 5, 1])
    assert photos.deviations[0] == pytest.approx(votes.std())


@pytest.mark.parametrize("dataset", ["tid2013"], indirect=True)
def test_deviations_of_other_rows(published, tmp_path):
    (tmp_path / "mos_std.txt").write_text("0.1\n")
    with pytest.raises(DatasetLayoutError, match=r"mos_std\.txt: expected 5 numbers .*found 1"):
        load_dataset("tid2013", tmp_path)
    (tmp_path / "mos_std.txt").unlink()
    assert load_dataset("tid2013", tmp_path).deviations is None


def test_deviations_of_ones_own(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "scores.csv").write_text("name,mos,std,group\na.png,1,0.25,x\nb.png,4,1,y\n")
    photos = load_dataset("plain", tmp_path, scale=(1.0, 5.0))
    assert photos.deviations == pytest.approx([0.25, 1.0])
    assert photos.groups == ("x", "y")
    (tmp_path / "scores.csv").write_text("name,mos,std\na.png,1,\nb.png,4,1\n")
    with pytest.raises(DatasetLayoutError, match=r"deviation in \[0, 4\]; 1 rows differ: a\.png"):
        load_dataset("plain", tmp_path, scale=(1.0, 5.0))
