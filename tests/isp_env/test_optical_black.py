import dataclasses

import numpy as np
import pytest

from isp_env.optical_black import covered_black
from isp_env.raw import read_raw

ACTIVE_AREA = 50829
AREA = (6, 101, 206, 301)  # odd on purpose: the pattern starts at its corner
STATED = np.full((2, 2), 1024.0)
REAL = np.array([[1016.0, 1018.0], [1021.0, 1019.0]])


def frame(margin: np.ndarray = REAL, scene: float = 5000.0) -> np.ndarray:
    rows, columns = np.mgrid[:206, :301]
    top, left, _, _ = AREA
    level = margin[(rows - top) % 2, (columns - left) % 2]
    noise = np.random.default_rng(0).normal(0, 8, level.shape)
    return np.where((rows >= top) & (columns >= left - 3), scene, level + noise).round()


def test_the_level_of_each_position_is_measured():
    level, note = covered_black(frame(), AREA, STATED, 16000.0)
    assert level == pytest.approx(REAL, abs=0.5)
    assert note == f"black level as measured beside the picture: {level.mean():.1f} instead of 1024"


@pytest.mark.parametrize(
    ("samples", "area"),
    [
        (frame(REAL - 60), AREA),  # too far from what is stated: something else lies there
        (frame() + np.where(np.arange(301) < 60, 60, 0), AREA),  # not one level
        (frame(), (6, 40, 206, 301)),  # a margin of a few columns
        (frame(), (0, 0, 206, 301)),  # none
    ],
)
def test_the_stated_level_holds_where_no_covered_margin_is_seen(samples, area):
    level, note = covered_black(samples, area, STATED, 16000.0)
    assert level is STATED
    assert note is None


def test_a_file_is_read_with_the_measured_level_and_says_so(take, write_tagged):
    raw = take()
    margin = np.full((64, 64), 595)
    assert raw.mosaic is not None
    wide = np.concatenate([margin, raw.mosaic], axis=1).astype(np.uint16)
    raw = dataclasses.replace(raw, mosaic=wide, crop=(0, 0, 64, 160))
    read = read_raw(write_tagged(raw, (ACTIVE_AREA, "I", 4, (0, 64, 64, 160), True)))
    assert read.black == pytest.approx(595)
    assert "595.0 instead of 600" in read.fallbacks[0]
