"""Colour as the file's metadata say it, and what is assumed where they do not."""

import logging

import numpy as np
import pytest

from isp_env.color.rgb import XYZ_FROM_REC709
from isp_env.dng.color_matrices import color_temperature, interpolate_color_matrix
from isp_env.errors import RawFileError
from isp_env.raw import read_raw
from isp_env.scenes.simulation import (
    Capture,
    simulate,
)

COLOR_MATRIX, AS_SHOT_NEUTRAL, AS_SHOT_WHITE_XY, ACTIVE_AREA = 50721, 50728, 50729, 50829

ILLUMINANT_A, D50, D65 = (0.44757, 0.40745), (0.34567, 0.35850), (0.31272, 0.32903)
MIRED_SHARE_OF_A_AT_D50 = (1e6 / 5003 - 1e6 / 6500) / (1e6 / 2850 - 1e6 / 6500)


@pytest.mark.parametrize(
    ("white", "share"), [(ILLUMINANT_A, 1.0), (D50, MIRED_SHARE_OF_A_AT_D50), (D65, 0.0)]
)
@pytest.mark.parametrize("stated_as", ["neutral", "chromaticity"])
def test_dual_illuminants_are_interpolated_in_mired(
    write_tagged, white, share, stated_as, take, rationals, camera
):
    warm = np.array([[1.1, -0.5, -0.05], [-0.4, 1.2, 0.2], [0.0, 0.15, 0.5]])
    cold = np.array(camera.xyz_to_camera)
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


def test_color_matrix_includes_calibration_and_analog_balance(
    write_tagged, take, rationals, camera
):
    calibration, balance = np.diag([1.1, 1.0, 0.9]), (2.0, 1.0, 1.5)
    path = write_tagged(take(), rationals(50723, calibration), rationals(50727, balance))
    expected = np.diag(balance) @ calibration @ np.array(camera.xyz_to_camera)
    np.testing.assert_allclose(read_raw(path).xyz_to_camera, expected, atol=1e-6)


# kelvin of CIE illuminants: CIE 15:2004
@pytest.mark.parametrize(
    ("xy", "kelvin"), [(ILLUMINANT_A, 2856), (D50, 5003), (D65, 6504), ((0.29902, 0.31485), 7504)]
)
def test_color_temperature_of_cie_illuminants(xy, kelvin):
    assert color_temperature(np.array(xy)) == pytest.approx(kelvin, rel=0.003)


@pytest.mark.parametrize("code", [COLOR_MATRIX, AS_SHOT_NEUTRAL])
def test_absurd_color_metadata_is_replaced_and_told(write_tagged, code, take, rationals):
    absurd = np.ones((3, 3)) if code == COLOR_MATRIX else (1e-6, 1.0, 1e-6)
    read = read_raw(write_tagged(take(), rationals(code, absurd)))
    assert len(read.fallbacks) == 1
    assert np.linalg.det(read.xyz_to_camera) > 0.01
    assert read.as_shot_neutral.min() > 0.1


def test_impossible_noise_profile_is_left_out(write_tagged, take):
    read = read_raw(write_tagged(take(), (51041, "d", 2, (-1.0, 2.0), True)))
    assert read.noise_profile is None
    assert read.fallbacks == (
        "NoiseProfile [-1.0, 2.0] is no noise of a sensor: left out",
        "no noise profile in the file: that of a typical sensor assumed",
    )


def test_impossible_baseline_exposure_is_refused(write_tagged, take):
    with pytest.raises(RawFileError, match="BaselineExposure 1000 EV"):
        read_raw(write_tagged(take(), (50730, "2i", 1, (1000, 1), True)))


def test_interpolation_stops_at_the_calibrated_illuminants():
    matrices = {2850.0: np.eye(3), 6500.0: 2 * np.eye(3)}
    np.testing.assert_array_equal(interpolate_color_matrix(matrices, 2000.0), np.eye(3))
    np.testing.assert_array_equal(interpolate_color_matrix(matrices, 9000.0), 2 * np.eye(3))


def test_without_white_balance_daylight_is_assumed_and_told(write_tagged, caplog, take, camera):
    path = write_tagged(take(), without=(AS_SHOT_NEUTRAL,))
    with caplog.at_level(logging.WARNING):
        read = read_raw(path)
    d65 = np.array(camera.xyz_to_camera) @ XYZ_FROM_REC709.sum(axis=1)
    np.testing.assert_allclose(read.as_shot_neutral, d65 / d65[1], rtol=2e-3)
    assert read.fallbacks == ("no white balance in the file: daylight assumed",)
    assert read.fallbacks[0] in caplog.text


def test_without_any_color_metadata_the_world_is_grey(write_tagged, camera):
    grey = np.broadcast_to(np.linspace(0.1, 0.9, 96), (3, 64, 96)).copy()
    grey[..., 80:] = 1  # clipped, and therefore not counted
    raw = simulate(grey, camera, Capture(exposure_error=1.0), np.random.default_rng(0))[0]
    read = read_raw(write_tagged(raw, without=(AS_SHOT_NEUTRAL, COLOR_MATRIX)))
    np.testing.assert_allclose(read.as_shot_neutral, camera.neutral, rtol=0.05)
    np.testing.assert_allclose(np.linalg.inv(read.xyz_to_camera), XYZ_FROM_REC709, atol=1e-9)
    assert read.fallbacks == (
        "no white balance in the file: grey world assumed",
        "no colour matrix in the file: sRGB primaries assumed",
    )


def test_calibration_is_for_profiles_of_its_signature(write_tagged, take, rationals, camera):
    calibration = rationals(50723, np.diag([1.5, 1.0, 0.7]))
    signed = (50931, "s", 0, "com.other", True)
    read = read_raw(write_tagged(take(), calibration, signed))
    np.testing.assert_allclose(read.xyz_to_camera, camera.xyz_to_camera, atol=1e-6)
    both = read_raw(write_tagged(take(), calibration, signed, (50932, "s", 0, "com.other", True)))
    assert not np.allclose(both.xyz_to_camera, camera.xyz_to_camera, atol=0.1)


def test_what_is_not_applied_is_noted(write_tagged, take, rationals):
    read = read_raw(
        write_tagged(
            take(),
            rationals(50723, np.zeros(9)),
            rationals(AS_SHOT_WHITE_XY, (0.9, 0.9)),
            rationals(51109, (2.0,)),
            (50707, "B", 4, (1, 9, 0, 0), True),
            (52525, 7, 4, b"abcd", True),
            (50717, "2I", 1, (0, 0), True),
            without=(AS_SHOT_NEUTRAL,),
        )
    )
    for told in (
        "CameraCalibration1 or AnalogBalance is singular: left out",
        "AsShotWhiteXY is no white of a light: left out",
        "BaselineExposureOffset 2 EV: left out",
        "the file needs a reader of DNG 1.9.0.0: read as one of 1.7.1",
        "ProfileGainTableMap: left out",
        "WhiteLevel is no number: left out",
        "no white balance in the file: daylight assumed",
    ):
        assert told in read.fallbacks
