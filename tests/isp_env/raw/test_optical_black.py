import dataclasses

import numpy as np
import pytest

from isp_env.raw import RawImage, read_raw
from isp_env.raw.optical_black import covered_black

AREA_OF_FILE = (50829, "I", 4, (0, 64, 64, 160), True)
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


@pytest.fixture
def wide(take) -> RawImage:
    """A picture beside whose active area the covered columns read 595; the file states 600."""
    raw = take()
    assert raw.mosaic is not None
    samples = np.concatenate([np.full((64, 64), 595), raw.mosaic], axis=1).astype(np.uint16)
    return dataclasses.replace(raw, mosaic=samples, crop=(0, 0, 64, 160))


def test_a_file_is_read_with_the_measured_level_and_says_so(wide, write_tagged):
    read = read_raw(write_tagged(wide, AREA_OF_FILE))
    assert read.black == pytest.approx(595)
    assert "595.0 instead of 600" in read.fallbacks[0]


def test_levels_that_a_file_states_for_each_row_are_left_alone(wide, write_tagged, rationals):
    read = read_raw(write_tagged(wide, AREA_OF_FILE, rationals(50716, np.linspace(0, 20, 64))))
    assert read.black == pytest.approx(600)
    assert not any("measured" in note for note in read.fallbacks)
