import numpy as np
import pandas as pd
import pytest

from attiqa.data.datasets import koniq
from attiqa.data.datasets.koniq import koniq_labels, read_koniq
from attiqa.errors import DatasetLayoutError

only = pytest.mark.parametrize("dataset", ["koniq"], indirect=True)


@only
def test_koniq_division(published, tmp_path, indices):
    photos = read_koniq(tmp_path)
    assert indices(photos.split) == [[0, 1], [2], [3, 4]]
    assert photos.scale == (1.0, 100.0)
    assert photos.source == "koniq10k_distributions_sets.csv; 1024x768/"


@only
def test_koniq_division_follows_images_that_are_left_out(published, tmp_path, indices):
    (tmp_path / "1024x768" / "2.jpg").unlink()
    split = read_koniq(tmp_path, subset=True).split
    assert indices(split) == [[0], [1], [2, 3]]


@only
def test_koniq_other_label_file(published, tmp_path):
    """Its column MOS is on another scale: MOS_zscore is the one to read."""
    (tmp_path / "koniq10k_distributions_sets.csv").unlink()
    table = {"image_name": published.names, "MOS": [1.0, 2, 3, 4, 4.6], "MOS_zscore": published.mos}
    path = tmp_path / "koniq10k_scores_and_distributions.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    (tmp_path / "1024x768").rename(tmp_path / "512x384")
    photos = read_koniq(tmp_path)
    assert photos.mos.tolist() == list(published.mos)
    assert photos.split is None
    assert photos.source == "koniq10k_scores_and_distributions.csv; 512x384/"


@only
@pytest.mark.parametrize(("given", "message"), [("test", "'train': 1"), ("extra", "'extra'")])
def test_koniq_with_another_division(published, tmp_path, given, message):
    path = tmp_path / "koniq10k_distributions_sets.csv"
    path.write_text(path.read_text().replace("training", given, 1))
    with pytest.raises(DatasetLayoutError, match=message):
        read_koniq(tmp_path)


@pytest.mark.data
def test_koniq_as_published(data):
    labels = koniq_labels(data / "labels")
    assert labels.table["part"].value_counts().to_dict() == {
        "train": 7058,
        "test": 2015,
        "validation": 1000,
    }
    mos = np.asarray(labels.table["mos"])
    assert [mos.min(), mos.max()] == pytest.approx([3.912, 88.389], abs=1e-3)
    assert labels.source == koniq.DIVIDED
