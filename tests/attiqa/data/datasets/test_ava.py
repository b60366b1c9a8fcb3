import logging

import pytest

from attiqa.data.datasets import ava
from attiqa.data.datasets.ava import ava_labels, read_ava
from attiqa.errors import DatasetLayoutError

only = pytest.mark.parametrize("dataset", ["ava"], indirect=True)


@only
def test_ava_scores_and_division(published, tmp_path, indices, caplog):
    with caplog.at_level(logging.WARNING):
        photos = read_ava(tmp_path)
    assert photos.mos.tolist() == [1.0, 2.5, 5.0, 7.5, 10.0]
    assert indices(photos.split) == [[0, 1, 2], [], [3, 4]]
    assert photos.dropped == ("999999.jpg",)  # on the test list, but without scores
    assert "1 numbers are not in AVA.txt" in caplog.text


@only
def test_ava_mean_of_a_published_row(published, tmp_path):
    """First row of AVA.txt: votes 0 1 5 17 38 36 15 6 5 1, whose mean is 699 / 124."""
    path = tmp_path / "AVA.txt"
    first = "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396"
    path.write_text("\n".join([first, *path.read_text().splitlines()[1:]]) + "\n")
    assert read_ava(tmp_path).mos[0] == pytest.approx(699 / 124)


@only
def test_ava_known_gaps_are_left_out_and_no_more(published, tmp_path, indices):
    (tmp_path / "images" / "953619.jpg").unlink()
    photos = read_ava(tmp_path)
    assert photos.dropped == ("999999.jpg", "953619.jpg")
    assert indices(photos.split) == [[0, 1], [], [2, 3]]
    (tmp_path / "images" / "953958.jpg").unlink()
    with pytest.raises(DatasetLayoutError, match="2 of 5"):
        read_ava(tmp_path)


@only
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 953619 2 0", "1 953619 0 0", "votes in every row"),
        ("1 953619 2 0", "1 953619 0", "cannot be read|columns"),
        ("1 953619 2 0", "1 953619 2.5 0", "whole numbers"),
    ],
)
def test_ava_with_wrong_rows(published, tmp_path, old, new, message):
    path = tmp_path / "AVA.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DatasetLayoutError, match=message):
        read_ava(tmp_path)


@only
def test_ava_with_another_test_list(published, tmp_path):
    path = tmp_path / "aesthetics_image_lists" / "generic_test.jpgl"
    for numbers, found in (("954113", "found 1, 0"), ("954113\n8\n9", "found 3, 2")):
        path.write_text(f"{numbers}\n")
        with pytest.raises(DatasetLayoutError, match=f"expected 3 numbers.*{found} unknown"):
            read_ava(tmp_path)


@pytest.mark.slow
def test_ava_at_its_full_size(tmp_path):
    """255,530 rows, of which 19,930 are on the test list of 20,000."""
    rows = (f"{index} {index + 5} 0 0 1 2 4 2 1 0 0 0 1 22 1396\n" for index in range(255_530))
    (tmp_path / "AVA.txt").write_text("".join(rows))
    (tmp_path / "aesthetics_image_lists").mkdir()
    tested = [*range(5, 19_935), *range(900_000, 900_070)]
    path = tmp_path / "aesthetics_image_lists" / "generic_test.jpgl"
    path.write_text("".join(f"{number}\n" for number in tested))
    labels = ava_labels(tmp_path)
    assert list(labels.table["part"]).count("test") == 19_930
    assert len(labels.dropped) == 70
    assert set(labels.table["mos"]) == {5.0}
    assert len(labels.table) == ava.ROWS
