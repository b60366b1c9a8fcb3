import pytest

from attiqa.data.datasets.kadid import read_kadid
from attiqa.data.datasets.tid2013 import read_tid2013
from attiqa.errors import DatasetLayoutError

only = pytest.mark.parametrize("dataset", ["tid2013"], indirect=True)


@pytest.mark.parametrize(
    ("dataset", "read", "last"),
    [("kadid", read_kadid, "I81"), ("tid2013", read_tid2013, "I25")],
    indirect=["dataset"],
)
def test_references_types_and_levels(published, read, last, tmp_path):
    photos = read(tmp_path)
    assert photos.groups == ("I01", "I01", "I02", "I02", last)
    assert photos.factors["type"] == (1, 25 if last == "I81" else 24, 1, 2, 10)
    assert photos.factors["level"] == (1, 5, 1, 3, 4)


@pytest.mark.parametrize("dataset", ["kadid", "tid2013"], indirect=True)
def test_a_name_that_is_no_distortion(dataset, published, tmp_path):
    published.write(tmp_path, ("I01.png", *published.names[1:]), published.mos)
    with pytest.raises(DatasetLayoutError, match=r"names like I01_01_1\.bmp, found I01\.png"):
        {"kadid": read_kadid, "tid2013": read_tid2013}[dataset](tmp_path)


@only
def test_tid2013_with_a_line_of_another_form(published, tmp_path):
    with (tmp_path / "mos_with_names.txt").open("a") as file:
        file.write("5.5\n")
    with pytest.raises(DatasetLayoutError, match="every line"):
        read_tid2013(tmp_path)
