"""What `read_raw` makes of files: metadata, phases, fallbacks, and files without a picture."""

import dataclasses
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from isp_env import dng
from isp_env import raw as raw_module
from isp_env.batch_inputs import is_raw_path
from isp_env.color import XYZ_FROM_REC709
from isp_env.development import develop, develop_area
from isp_env.errors import IspEnvError, RawFileError
from isp_env.metadata import color_temperature, interpolate_color_matrix, read_exif
from isp_env.opcodes import GainMap
from isp_env.picture_check import check_picture
from isp_env.raw import RawImage, read_raw
from isp_env.simulation import (
    BGGR,
    GBRG,
    GRBG,
    RGGB,
    X_TRANS,
    CameraModel,
    Capture,
    simulate,
)

CAMERA = CameraModel(
    name="Test camera",
    xyz_to_camera=((0.9, -0.29, -0.07), (-0.45, 1.24, 0.23), (-0.09, 0.19, 0.71)),
    neutral=(0.5, 1.0, 0.7),
)
COLOR_MATRIX, AS_SHOT_NEUTRAL, AS_SHOT_WHITE_XY, ACTIVE_AREA = 50721, 50728, 50729, 50829


def take(
    height: int = 64, width: int = 96, camera: CameraModel = CAMERA, capture: Capture | None = None
) -> RawImage:
    """A simulated picture of something smooth and colourful."""
    rows, cols = np.mgrid[:height, :width] / 10
    photo = 0.5 + 0.35 * np.stack([np.sin(rows), np.sin(cols), np.sin(rows + cols)])
    return simulate(photo, camera, capture or Capture(), np.random.default_rng(0))[0]


@pytest.fixture
def write_tagged(monkeypatch, tmp_path):
    """Write a DNG with some of its tags left out and others in their place."""
    tags_of = dng._tags

    def write(raw: RawImage, *tags: tuple, without: tuple[int, ...] = ()) -> Path:
        gone = {*without, *(tag[0] for tag in tags)}
        monkeypatch.setattr(
            dng,
            "_tags",
            lambda raw, pixels: [t for t in tags_of(raw, pixels) if t[0] not in gone] + [*tags],
        )
        dng.write_dng(raw, tmp_path / "tagged.dng")
        return tmp_path / "tagged.dng"

    return write


def rationals(code: int, values: np.ndarray | tuple[float, ...]) -> tuple:
    pairs = [(round(value * 1e8), 100_000_000) for value in np.ravel(values)]
    return (code, "2i", len(pairs), tuple(number for pair in pairs for number in pair), True)


@pytest.mark.parametrize("phase", [RGGB, GRBG, GBRG, BGGR])
@pytest.mark.parametrize(("top", "left"), [(3, 5), (2, 4), (3, 4), (0, 1)])
def test_phase_and_black_belong_to_the_active_area(write_tagged, phase, top, left):
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


def test_black_deltas_and_crop_are_read(write_tagged):
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


def test_a_crop_outside_the_area_is_refused(write_tagged):
    path = write_tagged(take(), (50719, "H", 2, (50, 2), True), (50720, "H", 2, (80, 60), True))
    with pytest.raises(RawFileError, match="default crop"):
        read_raw(path)


def test_forward_matrix_as_the_dng_specification_has_it(write_tagged):
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
def test_orientation_is_carried_and_pixels_are_not_rotated(tmp_path, orientation):
    raw = dataclasses.replace(take(), orientation=orientation)
    dng.write_dng(raw, tmp_path / "held.dng")
    read = read_raw(tmp_path / "held.dng")
    assert read.orientation == orientation
    np.testing.assert_array_equal(read.mosaic, raw.mosaic)


@pytest.mark.parametrize("exposure", [1.0, 3.0], ids=["up to 0.8 of white", "saturated"])
def test_xtrans_comes_as_linear_camera_rgb(tmp_path, exposure):
    camera = dataclasses.replace(CAMERA, cfa=X_TRANS, black=(1000, 1010, 990), shot_noise=0.0)
    raw = take(512, 520, camera, Capture(exposure_error=exposure))
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
    level = (raw.mosaic - np.array(camera.black)[color]) / (camera.white - 1000) * 65535
    at_samples = np.take_along_axis(read.linear, color[None], axis=0)[0]
    inside = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(at_samples[inside], level[inside].clip(0, 65535), atol=60)
    assert read.linear.min() > 0  # LibRaw leaves holes at the border
    saturated = np.mean(read.linear > 65400)  # survives the division by the gains
    assert saturated > 0.1 if exposure == 3 else saturated == 0


def test_monochrome_has_three_equal_channels(write_tagged):
    raw = dataclasses.replace(take(), black=np.full((1, 1), 600, np.float32))
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


def test_xtrans_too_small_for_libraw_is_refused(tmp_path):
    dng.write_dng(take(camera=dataclasses.replace(CAMERA, cfa=X_TRANS)), tmp_path / "xtrans.dng")
    with pytest.raises(RawFileError, match="X-Trans of 64 rows or columns: LibRaw needs 512"):
        read_raw(tmp_path / "xtrans.dng")


ILLUMINANT_A, D50, D65 = (0.44757, 0.40745), (0.34567, 0.35850), (0.31272, 0.32903)
MIRED_SHARE_OF_A_AT_D50 = (1e6 / 5003 - 1e6 / 6500) / (1e6 / 2850 - 1e6 / 6500)


@pytest.mark.parametrize(
    ("white", "share"), [(ILLUMINANT_A, 1.0), (D50, MIRED_SHARE_OF_A_AT_D50), (D65, 0.0)]
)
@pytest.mark.parametrize("stated_as", ["neutral", "chromaticity"])
def test_dual_illuminants_are_interpolated_in_mired(write_tagged, white, share, stated_as):
    warm = np.array([[1.1, -0.5, -0.05], [-0.4, 1.2, 0.2], [0.0, 0.15, 0.5]])
    cold = np.array(CAMERA.xyz_to_camera)
    expected = share * warm + (1 - share) * cold
    x, y = white
    neutral = expected @ np.array([x, y, 1 - x - y])
    neutral /= neutral[1]

    path = write_tagged(
        take(),
        rationals(COLOR_MATRIX, warm),
        rationals(50722, cold),
        (50778, "H", 1, 17, True),  # standard light A
        (50779, "H", 1, 21, True),  # D65
        rationals(AS_SHOT_NEUTRAL, neutral)
        if stated_as == "neutral"
        else rationals(AS_SHOT_WHITE_XY, white),
        without=(AS_SHOT_NEUTRAL,),
    )
    read = read_raw(path)
    np.testing.assert_allclose(read.xyz_to_camera, expected, atol=2e-3)
    np.testing.assert_allclose(read.as_shot_neutral, neutral, atol=2e-3)
    assert read.fallbacks == ()


def test_color_matrix_includes_calibration_and_analog_balance(write_tagged):
    calibration, balance = np.diag([1.1, 1.0, 0.9]), (2.0, 1.0, 1.5)
    path = write_tagged(take(), rationals(50723, calibration), rationals(50727, balance))
    expected = np.diag(balance) @ calibration @ np.array(CAMERA.xyz_to_camera)
    np.testing.assert_allclose(read_raw(path).xyz_to_camera, expected, atol=1e-6)


# kelvin of CIE illuminants: CIE 15:2004
@pytest.mark.parametrize(
    ("xy", "kelvin"), [(ILLUMINANT_A, 2856), (D50, 5003), (D65, 6504), ((0.29902, 0.31485), 7504)]
)
def test_color_temperature_of_cie_illuminants(xy, kelvin):
    assert color_temperature(np.array(xy)) == pytest.approx(kelvin, rel=0.003)


@pytest.mark.parametrize("code", [COLOR_MATRIX, AS_SHOT_NEUTRAL])
def test_absurd_color_metadata_is_replaced_and_told(write_tagged, code):
    absurd = np.ones((3, 3)) if code == COLOR_MATRIX else (1e-6, 1.0, 1e-6)
    read = read_raw(write_tagged(take(), rationals(code, absurd)))
    assert len(read.fallbacks) == 1
    assert np.linalg.det(read.xyz_to_camera) > 0.01
    assert read.as_shot_neutral.min() > 0.1


def test_impossible_noise_profile_is_left_out(write_tagged):
    assert read_raw(write_tagged(take(), (51041, "d", 2, (-1.0, 2.0), True))).noise_profile is None


def test_impossible_baseline_exposure_is_refused(write_tagged):
    with pytest.raises(RawFileError, match="BaselineExposure 1000 EV"):
        read_raw(write_tagged(take(), (50730, "2i", 1, (1000, 1), True)))


def test_interpolation_stops_at_the_calibrated_illuminants():
    matrices = {2850.0: np.eye(3), 6500.0: 2 * np.eye(3)}
    np.testing.assert_array_equal(interpolate_color_matrix(matrices, 2000.0), np.eye(3))
    np.testing.assert_array_equal(interpolate_color_matrix(matrices, 9000.0), 2 * np.eye(3))


def test_without_white_balance_daylight_is_assumed_and_told(write_tagged, caplog):
    path = write_tagged(take(), without=(AS_SHOT_NEUTRAL,))
    with caplog.at_level(logging.WARNING):
        read = read_raw(path)
    d65 = np.array(CAMERA.xyz_to_camera) @ XYZ_FROM_REC709.sum(axis=1)
    np.testing.assert_allclose(read.as_shot_neutral, d65 / d65[1], rtol=2e-3)
    assert read.fallbacks == ("no white balance in the file: daylight assumed",)
    assert read.fallbacks[0] in caplog.text


def test_without_any_color_metadata_the_world_is_grey(write_tagged):
    grey = np.broadcast_to(np.linspace(0.1, 0.9, 96), (3, 64, 96)).copy()
    grey[..., 80:] = 1  # clipped, and therefore not counted
    raw = simulate(grey, CAMERA, Capture(exposure_error=1.0), np.random.default_rng(0))[0]
    read = read_raw(write_tagged(raw, without=(AS_SHOT_NEUTRAL, COLOR_MATRIX)))
    np.testing.assert_allclose(read.as_shot_neutral, CAMERA.neutral, rtol=0.05)
    np.testing.assert_allclose(np.linalg.inv(read.xyz_to_camera), XYZ_FROM_REC709, atol=1e-9)
    assert read.fallbacks == (
        "no white balance in the file: grey world assumed",
        "no colour matrix in the file: sRGB primaries assumed",
    )


# -- is there a picture? --

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((64, 96)), "every pixel is 0"),
        (np.full((64, 96), 15520), "every pixel is 15520"),
        (np.where(RNG.random((64, 96)) < 0.995, 15520, 900), "saturated"),
        (np.where(RNG.random((64, 96)) < 0.998, 0, 4000), "at or below the black level"),
        (RNG.integers(0, 16384, (64, 96)), "noise or garbage"),
        (RNG.integers(0, 16384, (640, 960)), "noise or garbage"),
        (RNG.normal(600, 8, (640, 960)).round(), "noise or garbage"),  # the lens cap was on
        (
            np.where(np.arange(64)[:, None] < 40, 700 + 50 * np.arange(96), 0),
            "rows hold a single value",
        ),
    ],
)
def test_pixels_without_a_picture_are_refused(tmp_path, pixels, reason):
    raw = dataclasses.replace(take(), mosaic=pixels.astype(np.uint16))
    dng.write_dng(raw, tmp_path / "bad.dng")
    with pytest.raises(RawFileError, match=rf"bad\.dng: .*{reason}"):
        read_raw(tmp_path / "bad.dng")


@pytest.mark.parametrize(
    "capture",
    [
        Capture(iso=12800, exposure_error=-4.0),
        Capture(iso=12800, exposure_error=-6.0),
        Capture(iso=100, exposure_error=-7.0),
        Capture(exposure_error=3.0),
        Capture(veil=0.95, iso=3200),
    ],
    ids=[
        "night at ISO 12800",
        "picture below the noise of a pixel",
        "seven stops under",
        "three stops over",
        "fog",
    ],
)
def test_honest_bad_photographs_pass(tmp_path, capture):
    dng.write_dng(take(256, 384, capture=capture), tmp_path / "honest.dng")
    assert read_raw(tmp_path / "honest.dng").mosaic is not None


def test_an_evenly_lit_wall_passes():
    wall = np.random.default_rng(0).normal(4000, 100, (200, 300)).round().astype(np.uint16)
    assert check_picture(wall, wall[::2, ::2], 600.0, 15520.0) is None


# -- files that are not what they seem --


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "truncated"), (b"II*\0" + bytes(60), "damaged DNG"), (b"hello" * 99, "not a RAW")],
    ids=["empty", "TIFF header alone", "text"],
)
def test_other_files_are_refused(tmp_path, content, reason):
    path = tmp_path / "strange.dng"
    path.write_bytes(content)
    with pytest.raises(RawFileError, match=reason):
        read_raw(path)


def test_missing_file_is_named():
    with pytest.raises(RawFileError, match=r"^nowhere\.dng: no such file$"):
        read_raw("nowhere.dng")


def test_unreadable_file_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "mine.dng").touch()
    monkeypatch.setattr(raw_module, "read_dng_tags", refuse)
    with pytest.raises(RawFileError, match=r"mine\.dng: Permission denied"):
        read_raw(tmp_path / "mine.dng")


@pytest.mark.parametrize("area", [(0, 0, 65, 96), (40, 0, 30, 96)])
def test_active_area_outside_the_frame_is_refused(write_tagged, area):
    with pytest.raises(RawFileError):
        read_raw(write_tagged(take(), (ACTIVE_AREA, "I", 4, area, True)))


def test_mosaics_other_than_bayer_and_xtrans_are_refused(tmp_path):
    raw = dataclasses.replace(take(), cfa=np.array([[0, 0], [1, 2]], np.uint8))
    dng.write_dng(raw, tmp_path / "odd.dng")
    with pytest.raises(RawFileError, match=r"mosaic .* is not supported"):
        read_raw(tmp_path / "odd.dng")


def test_gain_map_outside_the_picture_is_refused(tmp_path):
    ones = np.ones((2, 2), np.float32)
    beyond = GainMap(64, 0, 90, 96, 0, 1, 2, 2, ones, 1.0, 1.0, 0.0, 0.0)
    dng.write_dng(dataclasses.replace(take(), gain_maps=(beyond,)), tmp_path / "map.dng")
    with pytest.raises(RawFileError, match="a gain map outside the picture"):
        read_raw(tmp_path / "map.dng")


def test_exposure_of_zero_by_zero_is_unknown(tmp_path):
    """Some cameras write 0/0 for what they do not know."""
    path = tmp_path / "zero.dng"
    dng.write_dng(take(), path)
    content = path.read_bytes()
    assert content.endswith((1).to_bytes(4, "little") + (125).to_bytes(4, "little"))
    path.write_bytes(content[:-8] + bytes(8))
    exif = read_exif(path)
    assert (exif.exposure_time, exif.iso, exif.model) == (None, 100, "Test camera")


def test_missing_strips_are_refused(write_tagged):
    """LibRaw opens such files and shows, in the missing part, what lay in the memory before."""
    path = write_tagged(take())
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["RowsPerStrip"].overwrite(32)
    with pytest.raises(RawFileError, match="only 1 of 2 parts"):
        read_raw(path)


def test_damaged_files_give_a_picture_or_a_raw_file_error(tmp_path):
    """Any other exception would end a batch; LibRaw notices only some of the damage."""
    dng.write_dng(take(), tmp_path / "whole.dng")
    whole = (tmp_path / "whole.dng").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(0, 900, rng.integers(1, 8)):  # among the tags
            damaged[place] = rng.integers(256)
        end = len(whole) if rng.random() < 0.7 else rng.integers(8, len(whole))
        (tmp_path / "damaged.dng").write_bytes(damaged[:end])
        try:
            read_raw(tmp_path / "damaged.dng")
        except RawFileError:
            refused += 1
    assert 20 < refused < 200


def test_error_survives_pickling():
    error = pickle.loads(pickle.dumps(RawFileError(Path("a.nef"), "truncated")))
    assert isinstance(error, IspEnvError)
    assert str(error) == "a.nef: truncated"


def test_raw_paths():
    assert is_raw_path("a/b.NEF")
    assert is_raw_path(Path("b.dng"))
    assert not is_raw_path("b.jpg")


# -- files of real cameras --

BROKEN = {
    "all_zero_pixels.dng": "only 1 of 140 parts",
    "data_error.nef": "damaged pixel data",
    "garbage_pixels.rw2": "at or below the black level",
    "too_big.x3f": "memory limit",
    "truncated.cr3": "truncated",
    "truncated.iiq": "truncated",
    "truncated.nef": "truncated",
    "truncated.raf": "truncated",
    "unsupported.rw2": "not a RAW format that LibRaw knows",
}


@pytest.mark.data
@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_the_reason(data, name):
    with pytest.raises(RawFileError, match=rf"{name}: .*{BROKEN[name]}"):
        read_raw(data / "raw" / "broken" / name)


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
    np.testing.assert_array_equal(raw.black, np.full((2, 2), 2056))
    np.testing.assert_allclose(raw.as_shot_neutral, [1000 / 2477, 1, 1462 / 2477])
    assert (raw.white, raw.iso, raw.model) == (15000, None, "Canon EOS Kiss X4")


@pytest.mark.data
def test_kodak_without_color_metadata(data):
    raw = read_raw(data / "raw" / "cameras" / "kodak_dc50.kdc")
    np.testing.assert_array_equal(raw.cfa, GRBG)
    assert len(raw.fallbacks) == 2
    assert np.all((raw.as_shot_neutral > 0.5) & (raw.as_shot_neutral < 2))
