import logging

import pytest

from attiqa.data.datasets.biq2021 import read_biq2021
from attiqa.data.photo_folder import read_photo

only = pytest.mark.parametrize("dataset", ["biq2021"], indirect=True)


@only
def test_biq2021_parts(published, tmp_path, indices):
    both = read_biq2021(tmp_path, part=None)
    assert indices(both.split) == [[0, 1, 2], [], [3, 4]]
    train, test = read_biq2021(tmp_path), read_biq2021(tmp_path, "test")
    assert (train.names, test.names) == (published.names[:3], published.names[3:])
    assert train.split is None


@only
def test_biq2021_part_with_fewer_rows(miniature, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(read_biq2021(tmp_path).paths) == 3
    assert "expected 10000 rows, found 3" in caplog.text


@pytest.mark.data
def test_biq2021_as_published(data):
    photos = read_biq2021(data / "biq2021")
    assert len(photos.paths) == 3000
    assert photos.mos.mean() == pytest.approx(0.641, abs=1e-3)
    assert read_photo(photos.paths[0]).shape == (512, 512, 3)
