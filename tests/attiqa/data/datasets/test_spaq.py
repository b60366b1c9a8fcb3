import pandas as pd
import pytest

from attiqa.attributes import ATTRIBUTES
from attiqa.data.datasets.spaq import read_spaq
from attiqa.errors import DatasetLayoutError

only = pytest.mark.parametrize("dataset", ["spaq"], indirect=True)


@only
def test_spaq_attributes_in_our_order(published, tmp_path):
    attributes = read_spaq(tmp_path).attributes
    assert attributes is not None
    expected = {"sharpness": 10, "contrast": 20, "brightness": 30, "colorfulness": 40}
    first = dict(zip(ATTRIBUTES, attributes[0], strict=True))
    assert first == expected | {"noisiness": 45}
    assert attributes[-1, ATTRIBUTES.index("noisiness")] == 55


@only
def test_spaq_exported_to_csv_with_underscores(published, tmp_path):
    path = tmp_path / "Annotations" / "MOS and Image attribute scores.xlsx"
    table = pd.read_excel(path).rename(columns={"Image name": "Image_name"})
    path.unlink()
    table.to_csv(tmp_path / "Annotations" / "MOS_and_Image_attribute_scores.csv", index=False)
    photos = read_spaq(tmp_path)
    assert photos.mos.tolist() == list(published.mos)
    assert photos.source.startswith("MOS_and_Image_attribute_scores.csv")


@only
def test_spaq_noisiness_that_falls_with_quality_is_refused(published, tmp_path):
    published.write(tmp_path, published.names, published.mos[::-1])
    with pytest.raises(DatasetLayoutError, match="noisiness to rise"):
        read_spaq(tmp_path)


@only
def test_spaq_attribute_out_of_range(published, tmp_path):
    path = tmp_path / "Annotations" / "MOS and Image attribute scores.xlsx"
    table = pd.read_excel(path)
    table.loc[2, "Contrast"] = 101.0
    table.to_excel(path, index=False)
    with pytest.raises(DatasetLayoutError, match=r"contrast in \[0, 100\].*00003\.jpg 101"):
        read_spaq(tmp_path)


@only
def test_spaq_with_a_broken_spreadsheet(published, tmp_path):
    path = tmp_path / "Annotations" / "MOS and Image attribute scores.xlsx"
    for content in (b"", b"no spreadsheet", path.read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(DatasetLayoutError, match="cannot be read as a table"):
            read_spaq(tmp_path)
