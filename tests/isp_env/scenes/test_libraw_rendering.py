import pytest
import torch

from isp_env.color.rgb import luminance, srgb_encode
from isp_env.develop.downsized import preview
from isp_env.develop.reference import develop
from isp_env.errors import RawFileError
from isp_env.raw import read_raw
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.libraw_rendering import libraw_rendering
from isp_env.scenes.simulation import Capture


@pytest.mark.parametrize("orientation", [1, 6])
def test_libraw_shows_the_scene_as_the_linear_picture_encoded(take, tmp_path, orientation):
    write_dng(take(160, 240, capture=Capture(orientation=orientation)), tmp_path / "a.dng")
    raw = read_raw(tmp_path / "a.dng")
    small = preview(raw, 60).rgb
    shown = libraw_rendering(tmp_path / "a.dng", False, (small.shape[1], small.shape[2]))
    assert shown.shape == small.shape
    assert shown.min() >= 0
    assert shown.max() <= 1
    inside = (slice(None), slice(3, -3), slice(3, -3))
    difference = (shown - srgb_encode(small.clamp(0, 1)))[inside].abs()
    assert difference.mean() < 0.02  # 0.05 and more when turned, or under another curve


def test_auto_bright_brightens_until_a_hundredth_clips(take, tmp_path):
    write_dng(take(160, 240, capture=Capture(exposure_error=-2.0)), tmp_path / "dark.dng")
    height, width = develop(read_raw(tmp_path / "dark.dng")).rgb.shape[1:]
    plain, bright = (
        libraw_rendering(tmp_path / "dark.dng", auto, (height, width)) for auto in (False, True)
    )
    assert plain.max() < 0.75
    assert luminance(bright.unbind(0)).mean() > luminance(plain.unbind(0)).mean() + 0.1
    clipped = (bright > 0.999).float().mean((1, 2)).max().item()
    assert 0.001 < clipped < 0.03


def test_the_default_crop_is_heeded(take, write_tagged):
    raw = take(160, 240)
    full = libraw_rendering(write_tagged(raw), False, (160, 240))
    origin, size = (50719, "H", 2, (20, 40), True), (50720, "H", 2, (200, 100), True)
    path = write_tagged(raw, origin, size)
    assert torch.equal(libraw_rendering(path, False, (100, 200)), full[:, 40:140, 20:220])


def test_files_without_a_picture_are_named(tmp_path):
    (tmp_path / "b.dng").write_bytes(b"no picture")
    with pytest.raises(RawFileError, match=r"b\.dng: truncated or unreadable"):
        libraw_rendering(tmp_path / "b.dng", False, (10, 10))
