"""Lens profiles of lensfun against its published formulas, written out here."""

import builtins
import struct
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from isp_env.develop.corrections import corrected
from isp_env.develop.lens import LensProfile, correct_in_place, frame_filling_scale
from isp_env.develop.lens_database import (
    MissingLensfunError,
    NoLensProfileError,
    find_profile,
    lens_correction,
    require_lensfun,
)
from isp_env.dng.opcodes import (
    Area,
    FixVignetteRadial,
    GainMap,
    Listed,
    MapPolynomial,
    WarpRectilinear,
)
from isp_env.raw import RawImage
from isp_env.raw.exif import Exif, read_exif
from tests.isp_env.develop.pictures import border_errors, drawn_by, inverse, linear_of, linear_raw

pytest.importorskip("lensfunpy")

SHAPE = (214, 321)
SIDE = 20
CANON_18_55 = Exif(
    make="Canon",
    model="Canon EOS 550D",
    lens_model="EF-S18-55mm f/3.5-5.6 IS II",
    focal_length=18.0,
    aperture=3.5,
)
# the calibration of the Canon EF-S 18-55mm f/3.5-5.6 IS II at 18 mm, f/3.5, 1,000 m in lensfun's
# data base: ptlens a, b, c; TCA poly3 vr, br, vb, bb; pa k1, k2, k3; crop factors of both sensors
A, B, C = 0.02504, -0.06883, 0.01502
RED, BLUE = (1.000297, -0.000092), (0.9999149, 0.0000982)
K = np.array([-1.0561, 1.0344, -0.5153])
CALIBRATED, SENSOR = 1.611, 1.613


def ptlens(shape: tuple[int, int], scale: float = 1.0, plane: int = 1):
    """PTLens and TCA formulas: 1 is half the short side of the calibrated 3:2 sensor."""
    height, width = shape
    x0, y0 = (width - 1) / 2, (height - 1) / 2
    unit = np.hypot(x0, y0) / np.hypot(1, 1.5) * SENSOR / CALIBRATED

    def formula(x, y):
        dx, dy = (x - x0) / scale / unit, (y - y0) / scale / unit
        r = np.hypot(dx, dy)
        f = A * r**3 + B * r**2 + C * r + 1 - A - B - C
        if plane != 1:
            v, b = RED if plane == 0 else BLUE
            f = f * (v + b * (f * r) ** 2)
        return x0 + unit * f * dx, y0 + unit * f * dy

    return formula


@pytest.fixture(scope="module")
def profile() -> LensProfile:
    return find_profile(CANON_18_55)


def without_vignetting(profile: LensProfile) -> LensProfile:
    return replace(profile, vignetting=None)


def test_radii_are_those_of_the_published_formulas(profile):
    shape = (3456, 5184)
    x = np.linspace(2591.5, 5183, 50)
    y = np.linspace(1727.5, 3455, 50)
    corner = np.hypot(2591.5, 1727.5)
    true = np.hypot(x - 2591.5, y - 1727.5)
    for plane in range(3):
        drawn_x, drawn_y = ptlens(shape, plane=plane)(x, y)
        recorded = np.hypot(drawn_x - 2591.5, drawn_y - 1727.5)
        found = true * np.polynomial.polynomial.polyval(true / corner, profile.ratios[plane])
        # of a displacement by up to 180 pixels; lensfun computes square roots of twelve bits
        assert np.abs(found - recorded).max() < 0.25


def test_a_grid_that_the_lens_bends_comes_back_straight(profile):
    scale = frame_filling_scale(profile, SHAPE)
    height, width = SHAPE
    x0, y0 = (width - 1) / 2, (height - 1) / 2

    def enlarged(plane):
        """The lens draws a board that is straight after the correction, which enlarges it."""
        draw = ptlens(SHAPE, plane=plane)
        return lambda x, y: draw(x0 + (x - x0) / scale, y0 + (y - y0) / scale)

    picture = np.stack([drawn_by(enlarged(plane), SHAPE, SIDE) for plane in range(3)])
    straight = drawn_by(lambda x, y: (x, y), SHAPE, SIDE)
    assert np.abs(picture[1] - straight).mean() > 0.02
    correct_in_place(picture, without_vignetting(profile), (0, 0, *SHAPE))
    errors = np.array([border_errors(plane, SIDE) for plane in picture])
    assert errors.shape[1] > 150
    assert np.abs(errors).max() < 0.25


def test_lateral_chromatic_aberration_is_corrected(profile):
    height, width = SHAPE
    many = np.array([[1.0, 0, 0.0], [0.98, 0, 0.012], [1.01, 0.004, 0.0]])
    strong = LensProfile(many, None, {})
    corner = np.hypot((width - 1) / 2, (height - 1) / 2)
    scale = frame_filling_scale(strong, SHAPE)
    x0, y0 = (width - 1) / 2, (height - 1) / 2

    def draw(plane):
        def formula(x, y):
            dx, dy = (x - x0) / scale, (y - y0) / scale
            r = np.hypot(dx, dy) / corner
            f = many[plane, 0] + many[plane, 1] * r + many[plane, 2] * r**2
            return x0 + f * dx, y0 + f * dy

        return formula

    picture = np.stack([drawn_by(draw(plane), SHAPE, SIDE) for plane in range(3)])
    correct_in_place(picture, strong, (0, 0, *SHAPE))
    errors = np.array([border_errors(plane, SIDE) for plane in picture])
    assert np.abs(errors).max() < 0.25


def test_a_vignetted_flat_field_becomes_flat(profile):
    height, width = SHAPE
    y, x = np.mgrid[:height, :width]
    r2 = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2
    r2 = r2 / r2.max() * (CALIBRATED / SENSOR) ** 2
    light = 1 + K[0] * r2 + K[1] * r2**2 + K[2] * r2**3
    assert light.min() < 0.5
    picture = np.stack([light * level for level in (0.2, 0.5, 3.0)]).astype(np.float32)
    correct_in_place(picture, replace(profile, ratios=None), (0, 0, *SHAPE))
    assert picture / np.array([0.2, 0.5, 3.0])[:, None, None] == pytest.approx(1, abs=2e-3)


def test_vignetting_is_corrected_where_it_was_recorded(profile):
    height, width = SHAPE
    y, x = np.mgrid[:height, :width].astype(float)
    r2 = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2
    r2 = r2 / r2.max() * (CALIBRATED / SENSOR) ** 2
    light = 1 + K[0] * r2 + K[1] * r2**2 + K[2] * r2**3
    picture = np.stack([light] * 3).astype(np.float32)
    correct_in_place(picture, profile, (0, 0, *SHAPE))
    assert picture == pytest.approx(1, abs=2e-3)


def test_no_border_shows_and_no_more_is_lost(profile):
    shapes: list[tuple[int, int]] = [SHAPE, (321, 214), (300, 400)]
    for shape in shapes:
        scale = frame_filling_scale(profile, shape)
        assert 0.9 < scale < 1.05
        height, width = shape
        corner = np.hypot(width - 1, height - 1) / 2

        def reach(scale, width=width, height=height, corner=corner):
            """How much of the recorded frame's half sides the corrected borders reach."""
            t = np.linspace(-0.5, 0.5, 501)
            half = np.full(501, 0.5)
            x = np.concatenate([t, half]) * (width - 1) / scale
            y = np.concatenate([half, t]) * (height - 1) / scale
            r = np.hypot(x, y) / corner
            f = max(
                (np.polynomial.polynomial.polyval(r, row) for row in profile.ratios),
                key=lambda ratio: ratio.sum(),
            )
            return max(np.abs(f * x).max() / (width - 1), np.abs(f * y).max() / (height - 1)) * 2

        assert reach(scale) == pytest.approx(1, abs=1e-3)
        assert reach(scale - 0.01) > 1.005


def test_a_profile_without_an_end_is_refused():
    wild = LensProfile(np.array([[3.0], [3.0], [3.0]]), None, {})
    with pytest.raises(ValueError, match="a border even at the double size"):
        frame_filling_scale(wild, SHAPE)


def test_the_middle_of_a_crop_is_the_middle_of_the_lens(profile):
    frame = (10, 20, 10 + SHAPE[0], 20 + SHAPE[1])
    noise = np.random.default_rng(0).uniform(0, 1, (3, SHAPE[0] + 30, SHAPE[1] + 50))
    big = gaussian_filter(noise, (0, 4, 4)).astype(np.float32)
    cut = big[:, 10 : 10 + SHAPE[0], 20 : 20 + SHAPE[1]].copy()
    correct_in_place(big, profile, frame)
    correct_in_place(cut, profile, (0, 0, *SHAPE))
    inside = (slice(None), slice(20, -20), slice(20, -20))
    part = big[:, 10 : 10 + SHAPE[0], 20 : 20 + SHAPE[1]]
    assert np.abs(part - cut)[inside].max() < 2e-3  # the grids of the warps lie elsewhere


KNOWN = {
    ("Canon", "Canon EOS 6D", "EF24-105mm f/4L IS USM", 24.0): "Canon EF 24-105mm f/4L IS USM",
    ("Canon", "Canon EOS 6D", "EF50mm f/1.8 II", 50.0): "Canon EF 50mm f/1.8 MkII",
    ("NIKON CORPORATION", "NIKON Z 6", "NIKKOR Z 24-70mm f/4 S", 24.0): "NIKKOR Z 24-70mm f/4 S",
    ("SONY", "ILCE-7M3", "FE 24-105mm F4 G OSS", 24.0): "FE 24-105mm f/4 G OSS",
    ("FUJIFILM", "X-T3", "XF18-55mmF2.8-4 R LM OIS", 18.0): "XF18-55mmF2.8-4 R LM OIS",
    ("FUJIFILM", "X100F", "", 23.0): "X100 & compatibles (Standard)",
    ("SONY", "DSC-RX100M3", "24-70mm F1.8-2.8", 8.8): "DSC-RX100 III & compatibles",
}


@pytest.mark.parametrize("named", KNOWN, ids=lambda named: named[1])
def test_lenses_are_found_by_the_names_of_cameras(named):
    make, model, lens, focal = named
    found = find_profile(
        Exif(make=make, model=model, lens_model=lens, focal_length=focal, aperture=5.6)
    )
    assert found.description["profile"] == KNOWN[named]
    corrections = found.description["corrections"]
    assert isinstance(corrections, list)
    assert "distortion" in corrections


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lens_model": "EF50mm f/1.7"}, "no profile of lens 'EF50mm f/1.7' for Canon EOS 550D"),
        ({"lens_model": "50mm"}, "no profile of lens '50mm'"),
        ({"lens_model": "EF-S18-55mm f/3.5-5.6 IS III"}, "no profile"),
        ({"lens_model": "Canon"}, "no profile"),
        ({"lens_model": ""}, "names no lens"),
        ({"model": "Canon EOS"}, "no camera named 'Canon Canon EOS'"),
        ({"model": ""}, "names no camera"),
        ({"make": "GoPro", "model": "HERO6 Black"}, "no camera"),
        ({"focal_length": None}, "no focal length"),
        ({"focal_length": 200.0}, "has 18 to 55 mm, the EXIF 200 mm"),
        ({"focal_range": (18.0, 135.0)}, "the EXIF's lens 18 to 135"),
    ],
)
def test_no_profile_rather_than_a_doubtful_one(changes, reason):
    with pytest.raises(NoLensProfileError, match=reason):
        find_profile(replace(CANON_18_55, **changes))


def test_two_profiles_of_one_name_are_none(monkeypatch):
    lensfun = require_lensfun()
    camera = lensfun.Database().find_cameras("Canon", "Canon EOS 550D")[0]

    class Lens:
        def __init__(self, maker: str) -> None:
            self.maker, self.model, self.crop_factor = maker, f"{maker} 35mm f/2", 1.6

    class Database:
        def find_cameras(self, make, model):
            return [camera]

        def find_lenses(self, camera):
            return [Lens("Sigma"), Lens("Tamron")]

    monkeypatch.setattr("isp_env.develop.lens_database._database", Database)
    exif = replace(CANON_18_55, lens_model="35mm F2", focal_length=35.0)
    with pytest.raises(NoLensProfileError, match="more than one profile"):
        find_profile(exif)


def test_without_an_aperture_vignetting_stays():
    found = find_profile(replace(CANON_18_55, aperture=None))
    assert found.vignetting is None
    assert found.description["corrections"] == ["distortion", "lateral chromatic aberration"]


def simulated(take, tmp_path, exif: Exif, monkeypatch) -> RawImage:
    monkeypatch.setattr("isp_env.develop.lens_database.read_exif", lambda path: exif)
    return replace(take(96, 144), path=tmp_path / "x.dng", orientation=6)


def test_a_sidecar_names_the_profile(take, tmp_path, monkeypatch):
    raw = simulated(take, tmp_path, CANON_18_55, monkeypatch)
    found, told = lens_correction(raw)
    assert told["profile"] == "Canon EF-S 18-55mm f/3.5-5.6 IS II"
    assert told["camera"] == "Canon EOS 550D"
    assert told["corrections"] == ["distortion", "lateral chromatic aberration", "vignetting"]
    assert (told["focal_length"], told["aperture"], told["distance"]) == (18.0, 3.5, None)
    assert found is not None
    assert told["scale"] == pytest.approx(frame_filling_scale(found, (96, 144)), abs=1e-6)
    done = corrected(raw, found)
    assert done.linear is not None
    assert done.orientation == 6  # the lens knows nothing of how the camera was held
    assert done.crop == raw.crop
    # the corner that the lens darkens is brighter now
    dark = linear_of(corrected(raw, replace(found, vignetting=None)))
    assert 1.7 < done.linear[:, :8, :8].mean() / dark[:, :8, :8].mean() < 2.3


def test_no_profile_on_top_of_the_files_own_correction(take, tmp_path, monkeypatch):
    raw = simulated(take, tmp_path, CANON_18_55, monkeypatch)
    profile, _ = lens_correction(raw)
    warp = WarpRectilinear(np.array([[0.9, 0.1, 0, 0, 0, 0]]), (0.5, 0.5))
    vignette = FixVignetteRadial(np.zeros(5), (0.5, 0.5))
    gains = GainMap(0, 0, 96, 144, 0, 1, 1, 1, np.ones((1, 1), np.float32), 1.0, 1.0, 0.0, 0.0)
    for own in (
        replace(raw, opcodes=(Listed(warp, True),)),
        replace(raw, opcodes=(Listed(vignette, True),)),
        replace(raw, gain_maps=(gains,)),
    ):
        found, told = lens_correction(own)
        assert found is None
        assert told == {"profile": None, "reason": "the file corrects its lens itself"}
        with pytest.raises(ValueError, match="on top of the file's own correction"):
            corrected(own, profile)


def test_without_the_extra_it_says_how_to_install_it(take, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "lensfunpy":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (require_lensfun, lambda: lens_correction(take())):
        with pytest.raises(MissingLensfunError, match=r'pip install "attiqa\[lens\]"'):
            call()


def test_exif_of_the_lens_is_read(tmp_path):
    """EXIF 2.32: FNumber, SubjectDistance, FocalLength, LensSpecification, LensMake, LensModel."""
    lens, maker = b"EF-S18-55mm f/3.5-5.6 IS II\0", b"Canon\0"
    entries, extra = [], b""
    start = 8 + 2 + 12 + 4  # of the EXIF directory
    values = start + 2 + 6 * 12 + 4

    def add(tag: int, kind: int, count: int, content: bytes) -> None:
        nonlocal extra
        entries.append(struct.pack("<HHII", tag, kind, count, values + len(extra)))
        extra += content + b"\0" * (len(content) % 2)

    add(33437, 5, 1, struct.pack("<2I", 28, 5))
    add(37382, 5, 1, struct.pack("<2I", 41, 5))
    add(37386, 5, 1, struct.pack("<2I", 18, 1))
    add(42034, 5, 4, struct.pack("<8I", 18, 1, 55, 1, 35, 10, 56, 10))
    add(42035, 2, len(maker), maker)
    add(42036, 2, len(lens), lens)
    path = tmp_path / "lens.tif"
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, 8)
        + struct.pack("<HHHIII", 1, 34665, 4, 1, start, 0)
        + struct.pack("<H", 6)
        + b"".join(entries)
        + struct.pack("<I", 0)
        + extra
    )
    exif = read_exif(path)
    assert exif.lens_model == "EF-S18-55mm f/3.5-5.6 IS II"
    assert exif.lens_make == "Canon"
    assert (exif.focal_length, exif.aperture, exif.subject_distance) == (18.0, 5.6, 8.2)
    assert exif.focal_range == (18.0, 55.0)


def test_point_opcodes_and_a_profile_go_together(take, tmp_path, monkeypatch):
    raw = simulated(take, tmp_path, CANON_18_55, monkeypatch)
    half = MapPolynomial(Area(0, 0, 0, 0, 0, 3, 1, 1), np.array([0.0, 0.5]))
    profile, _ = lens_correction(replace(raw, opcodes=(Listed(half, True),)))
    plain = linear_of(corrected(raw, profile))
    found = linear_of(corrected(replace(raw, opcodes=(Listed(half, True),)), profile))
    assert found == pytest.approx(plain / 2, abs=1e-5)


def test_inverse_inverts():
    x, y = np.array([3.0, 160.0, 300.0]), np.array([200.0, 17.0, 107.0])
    drawn = ptlens(SHAPE)(*inverse(ptlens(SHAPE), x, y))
    assert np.array(drawn) == pytest.approx(np.array([x, y]), abs=1e-6)


def test_a_linear_picture_is_corrected_too(take, tmp_path, monkeypatch):
    monkeypatch.setattr("isp_env.develop.lens_database.read_exif", lambda path: CANON_18_55)
    planes = np.full((3, 60, 90), 0.25, np.float32)
    raw = linear_raw(planes, take(), path=tmp_path / "x.dng")
    profile, _ = lens_correction(raw)
    done = corrected(raw, profile).linear
    assert done is not None
    assert done[:, 30, 45] == pytest.approx(0.25, rel=0.01)
    assert done[:, 0, 0] == pytest.approx(0.25 / (1 + K.sum()), rel=0.05)
