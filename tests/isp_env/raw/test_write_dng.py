"""What `write_dng` writes is what LibRaw, dcraw_emu, dcraw and exiftool read."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_env.color.rgb import camera_to_rec709
from isp_env.dng.opcode_lists import pack_gain_maps, parse_gain_maps
from isp_env.dng.opcodes import GainMap
from isp_env.raw import RawImage, read_raw
from isp_env.raw.exif import SIMULATED
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.simulation import BGGR, GBRG, GRBG, RGGB, X_TRANS

NIKON_D750 = np.array(
    [[0.9020, -0.2890, -0.0715], [-0.4535, 1.2436, 0.2348], [-0.0934, 0.1919, 0.7086]]
)
PHASES = {"RGGB": RGGB, "GRBG": GRBG, "GBRG": GBRG, "BGGR": BGGR}


def smooth(height: int, width: int, low: float, high: float) -> np.ndarray:
    """A picture with structure, which no check takes for noise."""
    rows, cols = np.mgrid[:height, :width]
    wave = 0.5 + 0.25 * np.sin(rows / 9) + 0.25 * np.cos(cols / 7)
    return (low + (high - low) * wave).astype(np.uint16)


def make_raw(**changes) -> RawImage:
    raw = RawImage(
        mosaic=smooth(64, 96, 700, 14000),
        linear=None,
        cfa=np.array(RGGB, np.uint8),
        black=np.full((2, 2), 600, np.float32),
        black_rows=None,
        black_columns=None,
        white=15520.0,
        as_shot_neutral=np.array([0.513, 1.0, 0.744]),
        xyz_to_camera=NIKON_D750,
        camera_to_rec709=camera_to_rec709(NIKON_D750),
        noise_profile=(2e-4, 3e-8),
        baseline_exposure=0.25,
        gain_maps=(),
        orientation=1,
        iso=3200.0,
        exposure_time=1 / 125,
        active_area=(0, 0, 64, 96),
        crop=(0, 0, 64, 96),
        make="Simulated",
        model="Test camera",
        path=None,
        simulated=True,
        fallbacks=(),
    )
    top, left, bottom, right = changes.get("active_area", raw.active_area)
    step = 1 if changes.get("mosaic", raw.mosaic) is None else 2  # a mosaic has even sides
    crop = (0, 0, (bottom - top) // step * step, (right - left) // step * step)
    return dataclasses.replace(raw, **({"crop": crop} | changes))


def gain_map(seed: int) -> GainMap:
    gains = np.random.default_rng(seed).uniform(1, 2, (5, 7)).astype(np.float32)
    return GainMap(0, seed, 64, 96, 0, 1, 2, 2, gains, 0.25, 1 / 6, 0.0, 0.0)


def assert_same(read: RawImage, written: RawImage, *, ignore: tuple[str, ...] = ("path",)) -> None:
    for field in dataclasses.fields(RawImage):
        if field.name in ignore or field.name == "gain_maps":
            continue
        got, expected = getattr(read, field.name), getattr(written, field.name)
        if isinstance(expected, np.ndarray):
            np.testing.assert_allclose(got, expected, atol=5e-7, err_msg=field.name)
        else:
            assert got == pytest.approx(expected, abs=5e-7), field.name


def run(tool: str, *arguments: str | Path, cwd: Path) -> str:
    """Output of a command-line tool; skips the test where it is not installed."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on the PATH")
    done = subprocess.run([tool, *map(str, arguments)], cwd=cwd, capture_output=True, check=True)
    return done.stdout.decode(errors="replace")


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(22, 70),  # LibRaw takes nothing smaller
    width=st.integers(22, 70),
    phase=st.sampled_from(sorted(PHASES)),
    black=st.lists(st.floats(0, 2000, width=32), min_size=4, max_size=4),
    white=st.integers(4000, 65535),
    neutral=st.tuples(st.floats(0.2, 2), st.floats(0.2, 2)),
    orientation=st.integers(1, 8),
    iso=st.integers(25, 65535),
    exposure=st.integers(-3000, 3000),
    simulated=st.booleans(),
)
def test_bayer_round_trip(
    tmp_path_factory,
    height,
    width,
    phase,
    black,
    white,
    neutral,
    orientation,
    iso,
    exposure,
    simulated,
):
    raw = make_raw(
        mosaic=smooth(height, width, 2001, white),
        cfa=np.array(PHASES[phase], np.uint8),
        black=np.array(black, np.float32).reshape(2, 2),
        white=float(white),
        as_shot_neutral=np.array([neutral[0], 1.0, neutral[1]]),
        orientation=orientation,
        iso=float(iso),
        baseline_exposure=exposure / 1000,
        active_area=(0, 0, height, width),
        simulated=simulated,
    )
    path = tmp_path_factory.mktemp("dng") / "picture.dng"
    write_dng(raw, path)
    read = read_raw(path)
    assert read.path == path
    assert_same(read, raw, ignore=("path", "black"))
    np.testing.assert_allclose(read.black, raw.black, rtol=1e-6, atol=5e-7)
    assert read.mosaic is not None
    assert read.mosaic.dtype == np.uint16


def test_linear_round_trip(tmp_path):
    linear = np.stack([smooth(40, 50, 400, high) for high in (9000, 12000, 7000)])
    raw = make_raw(
        mosaic=None,
        linear=linear,
        cfa=None,
        black=np.array([300, 310.5, 290], np.float32),
        active_area=(0, 0, 40, 50),
    )
    write_dng(raw, tmp_path / "linear.dng")
    assert_same(read_raw(tmp_path / "linear.dng"), raw)


def test_xtrans_mosaic_is_stored_as_it_is(tmp_path):
    raw = make_raw(cfa=np.array(X_TRANS, np.uint8), black=np.full((6, 6), 1024, np.float32))
    write_dng(raw, tmp_path / "xtrans.dng")
    with rawpy.imread(str(tmp_path / "xtrans.dng")) as libraw:
        np.testing.assert_array_equal(libraw.raw_image, raw.mosaic)
        np.testing.assert_array_equal(libraw.raw_pattern, raw.cfa)


def test_unknown_iso_and_exposure_stay_unknown(tmp_path):
    raw = make_raw(iso=None, exposure_time=None, noise_profile=None, make="", model="")
    write_dng(raw, tmp_path / "poor.dng")
    read = read_raw(tmp_path / "poor.dng")
    assert read.fallbacks == ("no noise profile in the file: that of a typical sensor assumed",)
    assert_same(dataclasses.replace(read, fallbacks=()), raw)


def test_names_outside_ascii_do_not_stop_the_writer(tmp_path):
    write_dng(make_raw(model="Caméra"), tmp_path / "name.dng")
    assert read_raw(tmp_path / "name.dng").model == "Cam?ra"


def test_gain_maps_round_trip(tmp_path):
    maps = (gain_map(0), gain_map(1))
    write_dng(make_raw(gain_maps=maps), tmp_path / "maps.dng")
    for got, expected in zip(read_raw(tmp_path / "maps.dng").gain_maps, maps, strict=True):
        np.testing.assert_array_equal(got.map, expected.map)
        assert dataclasses.replace(got, map=expected.map) == expected


def test_gain_map_with_values_per_plane_becomes_one_map_for_each():
    packed = bytearray(pack_gain_maps((dataclasses.replace(gain_map(0), planes=3),)))
    gains = np.arange(5 * 7 * 2, dtype=">f4").reshape(5, 7, 2)
    head = packed[: 4 + 16 + 76]
    head[-4:] = (2).to_bytes(4, "big")  # MapPlanes
    head[16:20] = (76 + gains.nbytes).to_bytes(4, "big")  # bytes of parameters
    first, second = parse_gain_maps(bytes(head) + gains.tobytes())
    np.testing.assert_array_equal(first.map, gains[..., 0])
    np.testing.assert_array_equal(second.map, gains[..., 1])
    assert (first.plane, first.planes, second.plane, second.planes) == (0, 1, 1, 2)


def test_damaged_opcode_list_is_a_value_error():
    with pytest.raises(ValueError, match="damaged opcode list"):
        parse_gain_maps(pack_gain_maps((gain_map(0),))[:-8])


@pytest.mark.parametrize("field", [{"row_pitch": 0}, {"bottom": 0}, {"spacing_h": 0.0}])
def test_gain_map_that_covers_nothing_is_no_gain_map(field):
    packed = bytearray(pack_gain_maps((dataclasses.replace(gain_map(0), **field),)))
    assert parse_gain_maps(bytes(packed)) == ()  # it may be left out
    assert packed[15] == 1
    packed[15] = 0  # it must not
    with pytest.raises(ValueError, match="damaged opcode list"):
        parse_gain_maps(bytes(packed))


def test_float_pixels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="uint16"):
        write_dng(make_raw(mosaic=np.ones((8, 8), np.float32)), tmp_path / "float.dng")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("phase", PHASES)
def test_exiftool_reads_the_metadata(tmp_path, phase):
    cfa = np.array(PHASES[phase], np.uint8)
    write_dng(make_raw(cfa=cfa, orientation=6), tmp_path / "picture.dng")
    output = run("exiftool", "-j", "-n", "-validate", "-all", "picture.dng", cwd=tmp_path)
    said = json.loads(output)[0]
    assert said["Validate"] == "0 0 0"  # errors, warnings, minor warnings
    assert said["ImageDescription"].startswith(SIMULATED)
    assert said["CFAPattern2"] == " ".join(map(str, cfa.ravel()))
    assert said["ISO"] == 3200
    assert said["ExposureTime"] == pytest.approx(1 / 125)
    assert said["Orientation"] == 6
    assert said["BlackLevel"] == "600 600 600 600"
    assert said["WhiteLevel"] == 15520
    assert said["AsShotNeutral"] == "0.513 1 0.744"
    assert said["NoiseProfile"] == "0.0002 3e-08"
    assert said["BaselineExposure"] == 0.25
    assert said["CalibrationIlluminant1"] == 21
    matrix = np.array(said["ColorMatrix1"].split(), float).reshape(3, 3)
    np.testing.assert_allclose(matrix, NIKON_D750, atol=1e-4)


@pytest.mark.parametrize("phase", PHASES)
def test_dcraw_emu_develops_the_same_pixels(tmp_path, phase):
    cfa = np.array(PHASES[phase], np.uint8)
    black = np.array([[100, 200], [300, 400]], np.float32)
    raw = make_raw(cfa=cfa, black=black)
    write_dng(raw, tmp_path / "picture.dng")
    # raw colours, unit gains, no interpolation, no white level taken from the picture
    options = ["-T", "-4", "-o", "0", "-M", "-r", "1", "1", "1", "1", "-c", "0", "-disinterp"]
    run("dcraw_emu", *options, "picture.dng", cwd=tmp_path)
    developed = tifffile.imread(tmp_path / "picture.dng.tiff")
    assert raw.mosaic is not None
    for row in range(2):
        for col in range(2):
            level = raw.mosaic[row::2, col::2] - black[row, col]
            got = developed[row::2, col::2, cfa[row, col]]
            scale = got.mean() / level.mean()
            # LibRaw subtracts the lowest black from the white level for all positions alike
            assert scale == pytest.approx(65535 / (raw.white - black.mean()), rel=0.03)
            np.testing.assert_allclose(got, level * scale, atol=4)


@pytest.mark.parametrize("cfa", [RGGB, BGGR, X_TRANS])
def test_dcraw_reads_the_same_pixels(tmp_path, cfa):
    raw = make_raw(
        cfa=np.array(cfa, np.uint8), black=np.full((len(cfa), len(cfa)), 600, np.float32)
    )
    write_dng(raw, tmp_path / "picture.dng")
    run("dcraw", "-D", "-4", "-T", "-t", "0", "picture.dng", cwd=tmp_path)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "picture.tiff"), raw.mosaic)


@pytest.mark.data
def test_nikon_in_four_phases_differs_in_phase_alone(data, tmp_path):
    reads = {}
    for name, phase in PHASES.items():
        source = data / "raw" / "mosaics" / f"nikon_768x512_{name.lower()}.raw"
        raw = make_raw(
            mosaic=np.fromfile(source, "<u2").reshape(512, 768),
            cfa=np.array(phase, np.uint8),
            as_shot_neutral=1 / np.array([1.949, 1, 1.344]),
            active_area=(0, 0, 512, 768),
        )
        write_dng(raw, tmp_path / f"{name}.dng")
        reads[name] = read_raw(tmp_path / f"{name}.dng")
        assert_same(reads[name], raw)
    first = reads["RGGB"]
    for name, read in reads.items():
        assert_same(read, first, ignore=("path", "mosaic", "cfa"))
        for color in (0, 2):  # the files hold the same samples at other places
            np.testing.assert_array_equal(samples(read, color), samples(first, color), name)


def samples(raw: RawImage, color: int) -> np.ndarray:
    """The samples of red (0) or blue (2)."""
    assert raw.cfa is not None
    assert raw.mosaic is not None
    row, col = np.argwhere(raw.cfa == color)[0]
    return raw.mosaic[row::2, col::2]
