import shutil

import numpy as np
import pytest

from attiqa.data.datasets.agiqa3k import agiqa3k_labels, read_agiqa3k
from attiqa.errors import DatasetLayoutError

only = pytest.mark.parametrize("dataset", ["agiqa3k"], indirect=True)


@only
def test_agiqa3k_prompts_and_generators(published, tmp_path):
    photos = read_agiqa3k(tmp_path)
    assert photos.groups is not None
    assert photos.groups[:2] == ("statue of a man", "a tray of sushi, anime style")
    assert photos.factors == {
        "style": ("", "anime style", "", "anime style", ""),
        "generator": ("AttnGAN", "sd1.5", "glide", "midjourney", "xl2.2"),
        "setting": ("normal", "lowstep", "normal", "lowstep", "normal"),
    }


@only
def test_agiqa3k_with_a_strange_name(published, tmp_path):
    published.write(tmp_path, ("portrait.jpg", *published.names[1:]), published.mos)
    with pytest.raises(DatasetLayoutError, match=r"portrait\.jpg"):
        read_agiqa3k(tmp_path)


@pytest.mark.data
def test_agiqa3k_as_published(data, tmp_path):
    shutil.copy(data / "labels" / "agiqa3k_data.csv", tmp_path / "data.csv")
    table = agiqa3k_labels(tmp_path).table
    assert len(table) == 2982
    assert len(set(table["group"])) == 300
    assert sorted(table["generator"].unique()) == [
        "AttnGAN",
        "DALLE2",
        "glide",
        "midjourney",
        "sd1.5",
        "xl2.2",
    ]
    assert np.mean(table["mos"]) == pytest.approx(2.5004, abs=1e-4)
