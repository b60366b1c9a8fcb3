import pytest

from attiqa.data.datasets import flive
from attiqa.data.datasets.flive import read_flive
from attiqa.errors import DatasetLayoutError

only = pytest.mark.parametrize("dataset", ["flive"], indirect=True)


@only
def test_flive_division(published, tmp_path, indices):
    photos = read_flive(tmp_path)
    assert indices(photos.split) == [[0, 1, 2], [3], [4]]
    assert photos.dropped == ("EE371R/rq59.jpg",)


@only
def test_flive_label_files_beside_the_images(published, tmp_path):
    for name in (flive.SCORES, flive.TEST, flive.LEARNING):
        (tmp_path / name).rename(tmp_path / "database" / name)
    assert len(read_flive(tmp_path).paths) == 5


@only
@pytest.mark.parametrize(
    ("row", "message"),
    [("blur_dataset/e.jpg,True", "1 test images too"), ("new.jpg,maybe", "True or False")],
)
def test_flive_with_a_wrong_division(published, tmp_path, row, message):
    with (tmp_path / flive.LEARNING).open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(DatasetLayoutError, match=message):
        read_flive(tmp_path, subset=True)


@only
def test_flive_photograph_in_no_part(published, tmp_path):
    path = tmp_path / flive.TEST
    path.write_text(path.read_text().splitlines()[0] + "\n50.0,voc/other.jpg,patches/a\n")
    with pytest.raises(DatasetLayoutError, match="expected the parts"):
        read_flive(tmp_path, subset=True)
