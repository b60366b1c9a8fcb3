"""What `read_raw` makes of good files: metadata, phases, orientation, the kinds of sensors."""

import dataclasses
import struct

import numpy as np
import pytest
import rawpy
import tifffile
import torch

from isp_env.develop.reference import develop, develop_area
from isp_env.dng.opcodes import GainMap
from isp_env.errors import RawFileError
from isp_env.raw import read_raw
from isp_env.raw import write_dng as dng
from isp_env.scenes.simulation import (
    BGGR,
    GBRG,
    GRBG,
    RGGB,
    X_TRANS,
    Capture,
)

COLOR_MATRIX, AS_SHOT_NEUTRAL, AS_SHOT_WHITE_XY, ACTIVE_AREA = 50721, 50728, 50729, 50829


def gain_map(plane: int = 0) -> GainMap:
    """Shading of a lens."""
    gains = np.array([[2, 1.5, 2], [1.5, 1, 1.5], [2, 1.5, 2]], np.float32)
    return GainMap(0, 0, 64, 96, plane, 1, 1, 1, gains, 0.5, 0.5, 0.0, 0.0)


@pytest.mark.parametrize("phase", [RGGB, GRBG, GBRG, BGGR])
@pytest.mark.parametrize(("top", "left"), [(3, 5), (2, 4), (3, 4), (0, 1)])
def test_phase_and_black_belong_to_the_active_area(write_tagged, phase, top, left, take):
    cfa = np.array(phase, np.uint8)
    height, width = 60, 80
    rows, cols = np.mgrid[:height, :width]
    color = cfa[(rows - top) % 2, (cols - left) % 2]
    frame = (np.array([2000, 6000, 12000])[color] + 10 * rows).astype(np.uint16)
    black = np.array([[100, 200], [300, 400]], np.float32)
    whole = (0, 0, height, width)
    raw = dataclasses.replace(take(), mosaic=frame, cfa=cfa, black=black, crop=whole)

    read = read_raw(write_tagged(raw, (ACTIVE_AREA, "I", 4, (top, left, height, width), True)))

    assert read.mosaic is not None
    assert read.cfa is not None
    assert read.active_area == (top, left, height, width)
    np.testing.assert_array_equal(read.mosaic, frame[top:, left:])
    np.testing.assert_array_equal(read.cfa, cfa)
    np.testing.assert_array_equal(read.black, black)


def test_black_deltas_and_crop_are_read(write_tagged, take, rationals):
    """BlackLevelDeltaH is one number for each column, BlackLevelDeltaV one for each row."""
    columns, rows = np.linspace(-5, 5, 96), np.linspace(0, 20, 64)
    path = write_tagged(
        take(),
        rationals(50715, columns),
        rationals(50716, rows),
        (50719, "H", 2, (4, 2), True),  # column, row
        (50720, "H", 2, (80, 60), True),  # width, height
    )
    raw = read_raw(path)
    assert raw.black_columns == pytest.approx(columns, abs=1e-5)
    assert raw.black_rows == pytest.approx(rows, abs=1e-5)
    assert raw.crop == (2, 4, 62, 84)
    linear = develop_area(raw)
    flat = dataclasses.replace(raw, black_rows=None, black_columns=None)
    assert raw.mosaic is not None
    by_hand = raw.mosaic - rows[:, None] - columns  # the white level is far: one level per level
    expected = dataclasses.replace(flat, mosaic=by_hand.astype(np.float32))
    assert (linear - develop_area(expected)).abs().max() < 0.01
    assert (linear - develop_area(flat)).abs().max() > 0.003
    assert develop(raw).rgb.shape == (3, 60, 80)


def test_stored_samples_go_through_the_linearization_table(write_tagged, take):
    raw = take()
    assert raw.mosaic is not None
    table = np.round((np.arange(16384) / 16383) ** 0.5 * 16383).astype(int)
    read = read_raw(write_tagged(raw, (50712, "H", len(table), table.tolist(), True)))
    np.testing.assert_array_equal(read.mosaic, table[raw.mosaic])


def test_what_a_file_says_and_cannot_be_used_is_recorded(write_tagged, take, rationals, caplog):
    path = write_tagged(
        take(),
        rationals(50716, np.ones(5)),
        rationals(50719, (1.0, 2.0, 3.0)),
        (50720, "2I", 2, (4, 0, 4, 1), True),
        rationals(50964, np.zeros(9)),
        rationals(51041, (-1.0, 0.0)),
    )
    raw = read_raw(path)
    assert raw.black_rows is None
    assert raw.crop == (0, 0, 64, 96)
    assert raw.noise_profile is None
    expected = [
        "DefaultCropOrigin has 3 values, not 2: left out",
        "DefaultCropSize is no number: left out",
        "NoiseProfile [-1.0, 0.0] is no noise of a sensor: left out",
        "ForwardMatrix cannot be used: colours by ColorMatrix alone",
        "BlackLevelDeltaV has 5 values for 64 rows: left out",
    ]
    assert list(raw.fallbacks[:5]) == expected
    assert all(f"{path}: {note}" in caplog.messages for note in expected)


@pytest.mark.parametrize("values", [(1e-4,), (1e-4, 1e-8, 2e-4)])
def test_half_a_noise_profile_is_left_out(write_tagged, take, values):
    raw = read_raw(write_tagged(take(), (51041, "d", len(values), values, True)))
    assert raw.noise_profile is None
    expected = f"NoiseProfile has {len(values)} values, not two for each plane: left out"
    assert raw.fallbacks[0] == expected


@pytest.mark.parametrize(
    ("origin", "size", "crop", "told"),
    [
        ((8, 8), (96, 64), (8, 8, 64, 96), "reaches beyond the active area: shortened"),
        ((50, 2), (80, 60), (2, 50, 62, 96), "reaches beyond the active area: shortened"),
        ((96, 2), (80, 60), (0, 0, 64, 96), "is not inside the active area: left out"),
    ],
)
def test_a_crop_beyond_the_area_is_noted(write_tagged, take, origin, size, crop, told):
    path = write_tagged(take(), (50719, "H", 2, origin, True), (50720, "H", 2, size, True))
    raw = read_raw(path)
    assert raw.crop == crop
    assert any(told in note for note in raw.fallbacks)


@pytest.mark.parametrize(
    ("fractions", "crop"),
    [
        ((0.0, 0.25, 1.0, 0.75), (2, 24, 62, 64)),
        ((0.1, 0.1, 0.1001, 0.1001), (8, 12, 9, 13)),  # at least a pixel
        ((0.5, 0.0, 0.25, 1.0), (2, 4, 62, 84)),  # upside down: left out
    ],
)
def test_the_users_crop_is_a_part_of_the_default_crop(
    write_tagged, take, rationals, fractions, crop
):
    path = write_tagged(
        take(),
        (50719, "H", 2, (4, 2), True),
        (50720, "H", 2, (80, 60), True),
        rationals(51125, fractions),
    )
    raw = read_raw(path)
    assert raw.crop == crop
    assert any("DefaultUserCrop" in note for note in raw.fallbacks) == (fractions[0] == 0.5)


def test_forward_matrix_as_the_dng_specification_has_it(write_tagged, take, rationals):
    """FM D (AB CC)^-1 of the as-shot white, then D50 to D65 by Bradford; computed step by step."""
    neutral = np.array([0.5, 1.0, 0.7])
    forward = np.array([[0.5, 0.3, 0.1642], [0.25, 0.7, 0.05], [0.02, 0.1, 0.7049]])
    calibration, balance = np.diag([1.05, 1.0, 0.96]), np.array([1.1, 1.0, 0.9])
    path = write_tagged(
        take(),
        rationals(50964, forward.ravel()),
        rationals(50723, calibration.ravel()),
        rationals(50727, balance),
        rationals(50728, neutral),
    )
    raw = read_raw(path)
    camera = np.array([0.2, 0.3, 0.1])  # any colour, as the sensor sees it
    individual = np.diag(balance) @ calibration
    reference = np.linalg.inv(individual) @ camera
    reference_neutral = np.linalg.inv(individual) @ neutral
    xyz_d50 = forward @ (reference / reference_neutral)
    # Lindbloom: Bradford-adapted XYZ of D50 to linear sRGB
    d50_to_srgb = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    assert raw.camera_to_rec709 @ (camera / neutral) == pytest.approx(
        d50_to_srgb @ xyz_d50, abs=2e-3
    )
    assert raw.camera_to_rec709 @ np.ones(3) == pytest.approx(np.ones(3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_carried_and_pixels_are_not_rotated(tmp_path, orientation, take):
    raw = dataclasses.replace(take(), orientation=orientation)
    dng.write_dng(raw, tmp_path / "held.dng")
    read = read_raw(tmp_path / "held.dng")
    assert read.orientation == orientation
    np.testing.assert_array_equal(read.mosaic, raw.mosaic)


@pytest.mark.parametrize("exposure", [1.0, 3.0], ids=["up to 0.8 of white", "saturated"])
def test_xtrans_comes_as_linear_camera_rgb(tmp_path, exposure, take, camera):
    xtrans = dataclasses.replace(camera, cfa=X_TRANS, black=(1000, 1010, 990), shot_noise=0.0)
    raw = take(512, 520, xtrans, Capture(exposure_error=exposure))
    dng.write_dng(raw, tmp_path / "xtrans.dng")
    read = read_raw(tmp_path / "xtrans.dng")
    assert read.mosaic is None
    assert read.linear is not None
    assert raw.mosaic is not None
    np.testing.assert_array_equal(read.cfa, raw.cfa)
    np.testing.assert_array_equal(read.black, [0, 0, 0])
    assert read.white == 65535
    # demosaicing interpolates between the samples: at their own places they must be what they were
    color = np.tile(np.array(X_TRANS), (86, 87))[:512, :520]
    level = (raw.mosaic - np.array(xtrans.black)[color]) / (xtrans.white - 1000) * 65535
    at_samples = np.take_along_axis(read.linear, color[None], axis=0)[0]
    inside = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(at_samples[inside], level[inside].clip(0, 65535), atol=60)
    assert read.linear.min() > 0  # LibRaw leaves holes at the border
    saturated = np.mean(read.linear > 65400)  # survives the division by the gains
    assert saturated > 0.1 if exposure == 3 else saturated == 0


def test_monochrome_has_three_equal_channels(write_tagged, take):
    black = np.full((1, 1), 600, np.float32)
    raw = dataclasses.replace(take(), black=black, gain_maps=(gain_map(),))
    path = write_tagged(raw, without=(33421, 33422, AS_SHOT_NEUTRAL, COLOR_MATRIX, 50778))
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags["PhotometricInterpretation"].offset
    content = bytearray(path.read_bytes())
    content[place + 8 : place + 10] = (34892).to_bytes(2, "little")  # LinearRaw, one sample
    path.write_bytes(content)
    read = read_raw(path)
    assert read.linear is not None
    for channel in read.linear:
        np.testing.assert_array_equal(channel, raw.mosaic)
    np.testing.assert_array_equal(read.black, [600, 600, 600])
    np.testing.assert_array_equal(read.as_shot_neutral, [1, 1, 1])
    assert [(m.plane, m.planes) for m in read.gain_maps] == [(0, 3)]


def test_opcodes_of_a_monochrome_picture_are_for_all_its_planes(write_tagged, take):
    black = np.full((1, 1), 600, np.float32)
    raw = dataclasses.replace(take(), black=black)
    area = (0, 0, 64, 96, 0, 1, 1, 1)  # plane 0, one plane
    half = struct.pack(">4i5I2d", *area, 1, 0.0, 0.5)
    content = struct.pack(">5I", 1, 8, 0x01030000, 0, len(half)) + half
    for code in (51009, 51022):
        path = write_tagged(
            raw,
            (code, 7, len(content), content, True),
            without=(33421, 33422, AS_SHOT_NEUTRAL, COLOR_MATRIX, 50778),
        )
        with tifffile.TiffFile(path, mode="r+") as tiff:
            tiff.pages.first.tags["PhotometricInterpretation"].overwrite(34892)
        linear = develop_area(read_raw(path))
        assert torch.allclose(linear[0], linear[1], atol=1e-5)
        assert torch.allclose(linear[2], linear[1], atol=1e-5)


def test_shading_and_black_deltas_of_a_linear_image(tmp_path, take):
    raw = take()
    assert raw.mosaic is not None
    lens = gain_map(plane=1)
    linear = dataclasses.replace(
        raw,
        mosaic=None,
        cfa=None,
        linear=np.stack([raw.mosaic] * 3),
        black=np.full(3, 600, np.float32),
        black_rows=np.linspace(0, 20, 64),
        gain_maps=(lens,),
    )
    dng.write_dng(linear, tmp_path / "linear.dng")
    read = read_raw(tmp_path / "linear.dng")
    assert read.black_rows == pytest.approx(linear.black_rows, abs=1e-5)
    assert [(m.plane, m.planes) for m in read.gain_maps] == [(1, 1)]
    flat = develop_area(dataclasses.replace(read, gain_maps=(), black_rows=None))
    assert (develop_area(read) - flat).abs().max() > 0.1


def test_black_deltas_and_shading_of_xtrans_are_applied(tmp_path, take, camera):
    raw = take(1050, 520, dataclasses.replace(camera, cfa=X_TRANS))  # two strips
    assert raw.mosaic is not None
    rows, columns = np.arange(1050) % 7, np.arange(520) % 9
    shifted = dataclasses.replace(
        raw,
        mosaic=(raw.mosaic + rows[:, None] + columns).astype(np.uint16),
        black_rows=rows.astype(float),
        black_columns=columns.astype(float),
        white=raw.white + rows.max() + columns.max(),  # the same range of light
    )
    half = np.full((2, 2), 0.5, np.float32)
    whole = GainMap(0, 0, 1050, 520, 0, 1, 1, 1, half, 1.0, 1.0, 0.0, 0.0)
    dng.write_dng(raw, tmp_path / "plain.dng")
    dng.write_dng(shifted, tmp_path / "shifted.dng")
    dng.write_dng(dataclasses.replace(raw, gain_maps=(whole,)), tmp_path / "shaded.dng")
    plain, read = read_raw(tmp_path / "plain.dng"), read_raw(tmp_path / "shifted.dng")
    assert (read.gain_maps, read.black_rows, read.black_columns) == ((), None, None)
    assert read.linear is not None
    assert plain.linear is not None
    np.testing.assert_array_equal(read.linear, plain.linear)
    shaded = read_raw(tmp_path / "shaded.dng")
    assert shaded.linear is not None
    assert shaded.gain_maps == ()
    np.testing.assert_allclose(shaded.linear.mean(), plain.linear.mean() / 2, rtol=2e-3)


def test_xtrans_too_small_for_libraw_is_refused(tmp_path, take, camera):
    dng.write_dng(take(camera=dataclasses.replace(camera, cfa=X_TRANS)), tmp_path / "xtrans.dng")
    with pytest.raises(RawFileError, match="X-Trans of 64 rows or columns: LibRaw needs 512"):
        read_raw(tmp_path / "xtrans.dng")


ILLUMINANT_A, D50, D65 = (0.44757, 0.40745), (0.34567, 0.35850), (0.31272, 0.32903)
MIRED_SHARE_OF_A_AT_D50 = (1e6 / 5003 - 1e6 / 6500) / (1e6 / 2850 - 1e6 / 6500)


# -- files of real cameras --


@pytest.mark.data
def test_gopro_hero6(data):
    """Numbers as exiftool prints them."""
    raw = read_raw(data / "raw" / "cameras" / "gopro_hero6.dng")
    assert raw.mosaic is not None
    assert raw.mosaic.shape == (3000, 4000)
    np.testing.assert_array_equal(raw.cfa, RGGB)
    np.testing.assert_allclose(raw.as_shot_neutral, [0.522449, 1, 0.571429])
    # the neutral lies on the blue side of D50: ColorMatrix2
    np.testing.assert_allclose(raw.xyz_to_camera[0], [1.0344, -0.4210, -0.0620])
    assert raw.noise_profile == pytest.approx((0.000156201, 4.88002e-08), rel=1e-5)
    assert [(m.top, m.left, m.row_pitch, m.map.shape) for m in raw.gain_maps] == [
        (0, 0, 2, (23, 23)),
        (0, 1, 2, (23, 23)),
        (1, 0, 2, (23, 23)),
        (1, 1, 2, (23, 23)),
    ]
    assert min(m.map.min() for m in raw.gain_maps) == pytest.approx(1, abs=0.05)
    assert (raw.orientation, raw.iso, raw.exposure_time) == (2, 100, 1 / 455)
    assert (raw.white, raw.simulated, raw.fallbacks) == (16383, False, ())


@pytest.mark.data
def test_canon_with_margins(data):
    raw = read_raw(data / "raw" / "cameras" / "canon_kiss_x4_colorchart.dng")
    assert raw.mosaic is not None
    assert raw.mosaic.shape == (1156, 1734)
    assert raw.active_area == (26, 152, 1182, 1886)
    np.testing.assert_array_equal(raw.cfa, RGGB)
    covered = rawpy.imread(str(raw.path)).raw_image[26:, 20:140]  # the file states 2056
    expected = [[covered[y::2, x::2].mean() for x in (0, 1)] for y in (0, 1)]
    np.testing.assert_allclose(raw.black, expected, atol=0.5)
    np.testing.assert_allclose(raw.as_shot_neutral, [1000 / 2477, 1, 1462 / 2477])
    assert (raw.white, raw.iso, raw.model) == (15000, None, "Canon EOS Kiss X4")


@pytest.mark.data
def test_kodak_without_color_metadata(data):
    raw = read_raw(data / "raw" / "cameras" / "kodak_dc50.kdc")
    np.testing.assert_array_equal(raw.cfa, GRBG)
    assert raw.fallbacks == (
        "no white balance in the file: grey world assumed",
        "no colour matrix in the file: LibRaw's for this camera taken",
        "no noise profile in the file: that of a typical sensor assumed",
    )
    assert np.all((raw.as_shot_neutral > 0.5) & (raw.as_shot_neutral < 2))
    # colours as LibRaw's own rendering has them
    with rawpy.imread(str(raw.path)) as file:
        wb = [*(1 / raw.as_shot_neutral), 1.0]
        linear = {"gamma": (1, 1), "no_auto_bright": True, "output_bps": 16}
        theirs = file.postprocess(half_size=True, user_wb=wb, adjust_maximum_thr=0, **linear)
    ours = develop(raw, half=True).rgb.permute(1, 2, 0).numpy()
    inside = ((theirs > 2000) & (theirs < 60000)).all(-1)
    found, expected = (x[inside] / x[inside][:, 1:2] for x in (ours, theirs.astype(float)))
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.data
def test_nikon_that_balances_its_samples(data):
    """The D1 writes samples that are white-balanced; daylight on top of it would be pink."""
    raw = read_raw(data / "raw" / "cameras" / "nikon_d1.nef")
    np.testing.assert_array_equal(raw.as_shot_neutral, [1, 1, 1])
    assert raw.fallbacks[0] == "white balance of 1 in the file: the samples are balanced already"
    ours = develop(raw, half=True).rgb.mean((1, 2))  # the neutral stone of a city
    assert (ours / ours[1]).numpy() == pytest.approx([1, 1, 1], abs=0.2)  # daylight: 2.5 for red
