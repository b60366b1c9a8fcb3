import shutil

import pytest

from attiqa.data.datasets.clive import read_clive
from attiqa.errors import DatasetLayoutError

only = pytest.mark.parametrize("dataset", ["clive"], indirect=True)


@only
def test_clive_leaves_out_the_photographs_that_trained_the_raters(published, tmp_path):
    photos = read_clive(tmp_path)
    assert photos.names == published.names
    assert photos.mos.tolist() == list(published.mos)


@only
def test_clive_with_a_broken_file(published, tmp_path):
    path = tmp_path / "Data" / "AllMOS_release.mat"
    for content in (b"", b"no matrix", path.read_bytes()[:150]):
        path.write_bytes(content)
        with pytest.raises(DatasetLayoutError, match=r"AllMOS_release\.mat: cannot be read"):
            read_clive(tmp_path)


@only
def test_clive_with_the_scores_under_another_name(published, tmp_path):
    shutil.copy(
        tmp_path / "Data" / "AllImages_release.mat", tmp_path / "Data" / "AllMOS_release.mat"
    )
    with pytest.raises(DatasetLayoutError, match="AllMOS_release"):
        read_clive(tmp_path)
