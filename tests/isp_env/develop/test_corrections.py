"""Opcodes of OpcodeList3 on their way through previews, half sizes and full frames."""

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from isp_env.develop.compiled_rows import ArraySource
from isp_env.develop.corrections import camera_rgb, corrected, optical_frame
from isp_env.develop.downsized import preview, reduced
from isp_env.develop.linear_source import linear_source
from isp_env.develop.noise import linear_noise
from isp_env.develop.reference import develop, develop_area
from isp_env.dng.opcodes import (
    Area,
    FixVignetteRadial,
    GainMap,
    Listed,
    MapPolynomial,
    Opcode,
    TrimBounds,
    UnknownOpcode,
    WarpRectilinear,
)
from isp_env.errors import RawFileError
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import to_theta
from isp_env.raw import RawImage, read_raw
from isp_env.render.frame import OutputSize, render_raw
from isp_env.render.frame_in_torch import quantise, render_whole
from isp_env.scenes.simulation import Capture, simulate
from tests.isp_env.develop.pictures import border_errors, drawn_by, linear_of, linear_raw
from tests.isp_env.develop.test_warp import SHAPE, SIDE, rectilinear

KR = (0.94, 0.05, 0.01, 0.0)
WARP = WarpRectilinear(np.array([[*KR, 0.0, 0.0]]), (0.5, 0.5))
IDENTITY = WarpRectilinear(np.array([[1.0, 0, 0, 0, 0, 0]] * 3), (0.5, 0.5))
VIGNETTE = FixVignetteRadial(np.array([0.5, 0.1, 0, 0, 0]), (0.5, 0.5))


def with_opcodes(raw: RawImage, *opcodes: Opcode, optional: bool = False) -> RawImage:
    return replace(raw, opcodes=tuple(Listed(x, optional) for x in opcodes))


def vignetting_of(shape: tuple[int, int]) -> np.ndarray:
    """VIGNETTE written out."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    r2 = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2
    r2 = r2 / r2.max()
    return 1 + 0.5 * r2 + 0.1 * r2**2


def test_nothing_to_do_is_the_same_picture(take):
    raw = take()
    assert corrected(raw) is raw
    same = corrected(with_opcodes(raw, IDENTITY))
    assert same.mosaic is raw.mosaic
    assert same.opcodes == ()


def test_camera_rgb_is_the_development_before_balance_and_matrix(take):
    raw = take(50, 70, capture=Capture(exposure_error=1.5))
    raw = replace(raw, camera_to_rec709=np.eye(3))
    gains = raw.as_shot_neutral.max() / raw.as_shot_neutral
    found = torch.from_numpy(camera_rgb(raw) * gains.astype(np.float32)[:, None, None])
    expected = develop_area(raw)
    dark = (found < 1).all(0)  # of brighter pixels, the development spreads what is beyond 1
    assert 0.2 < dark.float().mean() < 0.95
    assert (found - expected)[:, dark].abs().max() < 1e-5
    assert found.max() > 1  # and camera RGB keeps it where it is


def test_a_corrected_mosaic_is_developed_as_the_mosaic(take):
    raw = take(60, 90)
    by_hand = replace(
        corrected(with_opcodes(raw, FixVignetteRadial(np.zeros(5), (0.5, 0.5)))), crop=raw.crop
    )
    assert by_hand.mosaic is None
    assert linear_of(by_hand).dtype == np.float32
    assert (develop_area(by_hand) - develop_area(raw)).abs().max() < 1e-5
    rows = np.empty((3, 60, 90), np.float32)
    linear_source(by_hand).rows(0, 60, rows)
    assert np.abs(rows - develop_area(raw).numpy()).max() < 1e-5
    for block in (1, 2, 4):  # averaging what was interpolated averages no more noise away
        assert linear_noise(by_hand, block) == pytest.approx(linear_noise(raw, block))


def test_blocks_of_a_demosaiced_picture_are_those_of_its_mosaic(take):
    raw = take(60, 90)
    source = linear_source(with_opcodes(raw, FixVignetteRadial(np.zeros(5), (0.5, 0.5))))
    assert isinstance(source.samples, ArraySource)
    half = develop_area(corrected(with_opcodes(raw, VIGNETTE)), half=True)
    assert half.shape == (3, 30, 45)
    means, variances = source.reduced(6)
    pooled = F.avg_pool2d(develop_area(raw)[None], 6)[0].numpy()
    assert np.abs(means - pooled).max() < 0.01  # highlights are recovered after the averaging
    assert variances.shape == (3, 10, 15)
    with pytest.raises(ValueError, match="by 3: expected even numbers"):
        source.reduced(3)


def test_vignetting_is_corrected_everywhere(camera):
    photo = np.full((3, 64, 96), 0.3)
    raw = simulate(photo, camera, Capture(iso=50), np.random.default_rng(0))[0]
    assert raw.mosaic is not None
    light = 1 / vignetting_of((64, 96))
    black = np.tile(raw.black, (32, 48))
    mosaic = (black + (raw.mosaic - black) * light).round().astype(np.uint16)
    dark = replace(raw, mosaic=mosaic)
    bright = with_opcodes(dark, VIGNETTE)
    expected = develop(raw).rgb
    corner = (slice(None), slice(2, 10), slice(2, 10))
    assert develop(dark).rgb[corner].mean() < 0.75 * expected[corner].mean()
    for found, truth in (
        (develop(bright), develop(raw)),
        (develop(bright, half=True), develop(raw, half=True)),
        (preview(bright, 24), preview(raw, 24)),
        (reduced(linear_source(bright), 4).in_torch(), reduced(linear_source(raw), 4).in_torch()),
    ):
        # means of a quarter of the picture's width, at its corners: the noise is averaged out
        (height, width), size = found.rgb.shape[1:], truth.rgb.shape[1:]
        assert (height, width) == size
        for rows in (slice(0, height // 4), slice(height - height // 4, height)):
            ratio = found.rgb[:, rows, : width // 4].mean((1, 2))
            ratio = ratio / truth.rgb[:, rows, : width // 4].mean((1, 2))
            assert (ratio - 1).abs().max() < 0.01


def test_float_light_beyond_white_is_not_clipped_again(take):
    planes = np.full((3, 8, 8), 0.9, np.float32)
    raw = with_opcodes(linear_raw(planes, take()), VIGNETTE)
    light = linear_of(corrected(raw))
    assert light[0, 0, 0] == pytest.approx(0.9 * 1.6)
    raw = replace(corrected(raw), camera_to_rec709=np.eye(3))
    rows = np.empty((3, 8, 8), np.float32)
    linear_source(raw).rows(0, 8, rows)
    assert rows[0, 0, 0] == pytest.approx(0.9 * 1.6)
    assert develop_area(raw)[0, 0, 0].item() == pytest.approx(0.9 * 1.6)


def test_whole_numbers_saturate_before_vignetting(take):
    planes = np.full((3, 8, 8), 0.9, np.float32)
    raw = linear_raw(planes, take(), linear=np.full((3, 8, 8), 5000, np.uint16), white=4000.0)
    assert linear_of(corrected(with_opcodes(raw, VIGNETTE)))[0, 0, 0] == pytest.approx(1.6)


def test_a_checkerboard_is_straight_in_frames_and_previews(take):
    board = np.stack([drawn_by(rectilinear(KR), SHAPE, SIDE)] * 3)
    raw = with_opcodes(linear_raw(board, take(), camera_to_rec709=np.eye(3)), WARP)
    assert np.abs(border_errors(develop(raw).rgb[1].numpy(), SIDE)).max() < 0.25
    half = preview(raw, SHAPE[1] // 2).rgb[1].numpy()
    assert np.abs(border_errors(half, SIDE // 2, margin=12)).max() < 0.25


def test_previews_are_reduced_frames(take):
    raw = with_opcodes(take(128, 192), WARP, VIGNETTE)
    found = preview(raw, 48).rgb
    expected = F.interpolate(develop(raw).rgb[None], (32, 48), mode="area")[0]
    assert (found - expected).abs().mean() < 0.005
    assert (found - preview(replace(raw, opcodes=()), 48).rgb).abs().mean() > 0.02


def test_frames_are_those_of_the_whole_rendering_and_of_any_tile(take):
    raw = with_opcodes(take(256, 384), WARP)
    theta = to_theta(DEFAULT_PIPELINE.parameters, {"denoise": 0.2})[0]
    frame = render_raw(raw, theta)
    whole = quantise(render_whole(raw, theta))
    assert np.abs(frame.astype(int) - whole).max() <= 1
    assert np.array_equal(render_raw(raw, theta, tile=12), frame)
    once = corrected(raw)
    assert np.array_equal(render_raw(once, theta), frame)
    small = render_raw(raw, theta, size=OutputSize(long_side=96))
    assert np.array_equal(render_raw(once, theta, size=OutputSize(long_side=96)), small)


def test_opcodes_come_in_the_order_of_the_list(take):
    raw = linear_raw(np.full((3, 8, 8), 0.5), take())
    square = MapPolynomial(Area(0, 0, 8, 8, 0, 3, 1, 1), np.array([0.0, 0.0, 1.0]))
    first = linear_of(corrected(with_opcodes(raw, square, VIGNETTE)))
    assert first[0, 0, 0] == pytest.approx(0.25 * 1.6)
    second = linear_of(corrected(with_opcodes(raw, VIGNETTE, square)))
    assert second[0, 0, 0] == pytest.approx((0.5 * 1.6) ** 2)


def test_trimmed_pictures_keep_their_crop_in_place(take):
    planes = np.random.default_rng(0).uniform(0, 1, (3, 20, 30)).astype(np.float32)
    raw = linear_raw(planes, take(), crop=(4, 6, 16, 26), active_area=(2, 2, 22, 32))
    trimmed = corrected(with_opcodes(raw, TrimBounds(3, 2, 18, 24)))
    assert np.array_equal(linear_of(trimmed), planes[:, 3:18, 2:24])
    assert trimmed.crop == (1, 4, 13, 22)
    assert trimmed.active_area == (5, 4, 20, 26)
    assert np.array_equal(develop(trimmed).rgb.shape, (3, 12, 18))


def test_odd_areas_lose_a_row_and_a_column_but_not_their_centre(take):
    raw = take(64, 96)
    assert raw.mosaic is not None
    odd = with_opcodes(replace(raw, mosaic=raw.mosaic[:63, :95], crop=(0, 0, 62, 94)), VIGNETTE)
    found = linear_of(corrected(odd)) / camera_rgb(odd)
    assert found.shape == (3, 62, 94)
    assert found[1] == pytest.approx(vignetting_of((63, 95))[:62, :94], rel=1e-4)


@pytest.mark.parametrize(
    ("opcode", "name"),
    [
        (WarpRectilinear(np.tile([0.9, 0, 0, 0, 0, 0], (2, 1)), (0.5, 0.5)), "WarpRectilinear"),
        (FixVignetteRadial(np.array([-3.0, 0, 0, 0, 0]), (0.5, 0.5)), "FixVignetteRadial"),
        (TrimBounds(0, 0, 900, 900), "TrimBounds"),
        (UnknownOpcode(77), "opcode 77"),
    ],
)
def test_what_cannot_be_applied_is_noted_or_refuses_the_file(take, tmp_path, opcode, name):
    raw = replace(take(), path=tmp_path / "x.dng")
    with pytest.raises(RawFileError, match=f"x.dng: the file demands {name}, which cannot"):
        corrected(with_opcodes(raw, opcode))
    noted = corrected(with_opcodes(raw, opcode, VIGNETTE, optional=True))
    assert noted.fallbacks[: len(raw.fallbacks)] == raw.fallbacks
    assert noted.fallbacks[-1].startswith(f"{name}: left out (")
    assert np.array_equal(linear_of(noted), linear_of(corrected(with_opcodes(raw, VIGNETTE))))


def test_the_frame_of_a_lens_is_the_default_crop_but_not_the_photographers(take):
    raw = take(100, 200)
    assert optical_frame(replace(raw, crop=(2, 4, 98, 196))) == (2, 4, 98, 196)
    assert optical_frame(replace(raw, crop=(0, 0, 50, 50))) == (0, 0, 100, 200)


def test_gain_maps_come_before_the_warp(take):
    raw = take(64, 96)
    gains = np.array([[1.0, 2.0]], np.float32)
    shading = GainMap(0, 0, 64, 96, 0, 1, 1, 1, gains, 1.0, 1.0, 0.0, 0.0)
    zoom = WarpRectilinear(np.array([[0.5, 0, 0, 0, 0, 0]]), (0.0, 0.0))
    raw = with_opcodes(replace(raw, gain_maps=(shading,)), zoom)
    plain = linear_of(corrected(replace(raw, gain_maps=())))
    ratio = linear_of(corrected(raw))[1, 20:40, 90].mean() / plain[1, 20:40, 90].mean()
    assert ratio == pytest.approx(1 + 45.5 / 96, rel=0.01)  # the gain at column 45


def list_3(*opcodes: tuple[int, int, bytes]) -> tuple:
    """A tag of (number, flags, parameters)."""
    packed = [struct.pack(">I", len(opcodes))]
    for number, flags, parameters in opcodes:
        packed += [struct.pack(">4I", number, 0x01030000, flags, len(parameters)), parameters]
    content = b"".join(packed)
    return (51022, 7, len(content), content, True)


def test_a_file_is_read_with_its_opcodes_and_developed_with_them(take, write_tagged):
    raw = take(64, 96)
    vignette = struct.pack(">7d", *VIGNETTE.coefficients, 0.5, 0.5)
    warp = struct.pack(">I8d", 1, *KR, 0, 0, 0.5, 0.5)
    path = write_tagged(raw, list_3((3, 1, vignette), (1, 0, warp)))
    read = read_raw(path)
    assert len(read.opcodes) == 2
    by_hand = develop(with_opcodes(replace(read, opcodes=()), VIGNETTE, WARP)).rgb
    assert torch.equal(develop(read).rgb, by_hand)
    assert (by_hand - develop(replace(read, opcodes=())).rgb).abs().mean() > 0.02
