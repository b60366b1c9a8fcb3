import pandas as pd
import pytest
from PIL import Image

from attiqa.data.datasets.own_folder import read_plain
from attiqa.data.datasets.registry import load_dataset
from attiqa.errors import DatasetLayoutError

only = pytest.mark.parametrize("dataset", ["koniq"], indirect=True)


@only
def test_a_folder_and_a_table_of_ones_own(miniature, tmp_path):
    table = {"file": miniature.names, "stars": [1, 2, 3, 4, 5], "scene": list("aabbc")}
    path = tmp_path / "mine.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    images = tmp_path / "1024x768"
    photos = read_plain(path, images, (1.0, 5.0), name="file", mos="stars", group="scene")
    assert (photos.name, photos.names) == ("mine", miniature.names)
    assert photos.mos.tolist() == [1, 2, 3, 4, 5]
    assert photos.groups == tuple("aabbc")
    with pytest.raises(DatasetLayoutError, match=r"\[1, 4\]; 1 rows differ: 5\.jpg 5"):
        read_plain(path, images, (1.0, 4.0), name="file", mos="stars")
    with pytest.raises(DatasetLayoutError, match=r"no column \['name'\]"):
        read_plain(path, images, (1.0, 5.0), mos="stars")
    with pytest.raises(DatasetLayoutError, match="no such folder"):
        read_plain(path, tmp_path / "absent", (1.0, 5.0), name="file", mos="stars")


def test_rows_without_a_name(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("name,mos\na.jpg,1\n,2\n")
    with pytest.raises(DatasetLayoutError, match="1 rows without a file name"):
        read_plain(path, tmp_path, (1.0, 5.0))


def test_a_folder_with_its_scores(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "scores.csv").write_text("name,mos\na.png,1\nb.png,4\n")
    photos = load_dataset("plain", tmp_path, scale=(0.0, 10.0))
    assert photos.name == tmp_path.name
    assert photos.mos.tolist() == [1, 4]
    assert photos.scale == (0, 10)
    assert photos.groups is None
    (tmp_path / "scores.csv").write_text("Name,MOS,Group\na.png,1,x\nb.png,4,x\n")
    assert load_dataset("plain", tmp_path, scale=(0.0, 10.0)).groups == ("x", "x")


def test_a_folder_without_a_scale_or_without_scores(tmp_path):
    with pytest.raises(DatasetLayoutError, match="scale: scores of your own"):
        load_dataset("plain", tmp_path)
    with pytest.raises(DatasetLayoutError, match=r"scores\.csv: cannot be read"):
        load_dataset("plain", tmp_path, scale=(0.0, 1.0))
