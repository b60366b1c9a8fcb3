"""TIFF files of every layout: written by tifffile, expected values from what was written."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from attiqa.data.photos.decoding import read_photo, rgb_pixels
from attiqa.data.photos.deep_images import read_deep_tiff
from attiqa.errors import ImageFileError, ImageFormatError

HEIGHT, WIDTH = 48, 80


def unit(channels: int) -> np.ndarray:
    """Values in [0, 1], another slope in each channel; both ends are there."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    ramps = (x / (WIDTH - 1), y / (HEIGHT - 1), (x + y) / (WIDTH + HEIGHT - 2))
    return np.stack([ramps[channel % 3] for channel in range(channels)], axis=-1)


def samples_of(values: np.ndarray, kind: str) -> np.ndarray:
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return values.astype(dtype)
    return np.round(values * np.iinfo(dtype).max).astype(dtype)


def assert_shown(found: np.ndarray, values: np.ndarray, tolerance: float = 0.51) -> None:
    expected = 255 * np.broadcast_to(values, (*values.shape[:2], 3))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}, {"rowsperstrip": 7}])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_depth_and_byte_order(tmp_path, order, kind, photometric, layout, compression):
    channels = 3 if photometric == "rgb" else 1
    values = unit(channels)
    stored = 1 - values if photometric == "miniswhite" else values
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples_of(stored, kind).squeeze(),
        photometric=photometric,
        byteorder=order,
        compression=compression,
        **layout,
    )
    tolerance = 0.6 if kind == "float16" else 0.51  # eleven bits near white
    assert_shown(read_photo(tmp_path / "a.tif"), values, tolerance)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("channels", [3, 4])
def test_planes(tmp_path, order, kind, tile, channels):
    values = unit(channels)
    values[..., 3:] = 1
    values[:9, :, 3:] = 0
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.ascontiguousarray(np.moveaxis(samples_of(values, kind), 2, 0)),
        photometric="rgb",
        planarconfig="separate",
        extrasamples=["unassalpha"] if channels == 4 else None,
        byteorder=order,
        tile=tile,
    )
    expected = values[..., :3].copy()
    if channels == 4:
        expected[:9] = 1
    assert_shown(read_photo(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize("fill", [0, 1])
def test_white_is_zero_of_one_bit(tmp_path, fill):
    bits = np.zeros((HEIGHT, WIDTH), bool)
    bits[:, : WIDTH // 2] = True
    tifffile.imwrite(tmp_path / "a.tif", bits == bool(fill), photometric="miniswhite")
    found = read_photo(tmp_path / "a.tif")
    left, right = found[0, 0, 0], found[0, -1, 0]
    assert (left, right) == ((255, 0) if fill == 0 else (0, 255))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha"])
def test_alpha_of_both_kinds_is_laid_over_white(tmp_path, kind, photometric, alpha):
    colors, opacity = unit(3 if photometric == "rgb" else 1), np.full((HEIGHT, WIDTH, 1), 0.6)
    opacity[:5] = 0
    opacity[5:10] = 1
    stored = 1 - colors if photometric == "miniswhite" else colors
    if alpha == "assocalpha":
        stored = stored * opacity
        if photometric == "miniswhite":
            pytest.skip("premultiplied WhiteIsZero: the specification leaves open what it means")
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples_of(np.concatenate([stored, opacity], axis=2), kind),
        photometric=photometric,
        extrasamples=[alpha],
        planarconfig="contig",
    )
    tolerance = 1.6 if kind == "uint8" else 1.1  # both rounded to eight bits, then composed
    assert_shown(read_photo(tmp_path / "a.tif"), colors * opacity + 1 - opacity, tolerance)


@pytest.mark.parametrize("kind", ["uint16", "float32"])
@pytest.mark.parametrize("photometric", ["miniswhite", "rgb"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_deep_files(tmp_path, kind, photometric, order):
    values = unit(3 if photometric == "rgb" else 1)
    stored = 1 - values if photometric == "miniswhite" else values
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples_of(stored, kind).squeeze(),
        photometric=photometric,
        byteorder=order,
        extratags=[(0x0112, "H", 1, 6, True)],  # rotate clockwise to show
    )
    assert_shown(read_photo(tmp_path / "a.tif"), np.rot90(values, -1))


@pytest.mark.parametrize("kind", ["uint16", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_profile_of_deep_files_loses_no_shadows(tmp_path, kind, order, linear_profile):
    """At eight bits, the darkest twelve levels of sRGB are one level of linear light."""
    light = np.linspace(0, 1 / 255, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3)
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples_of(light, kind),
        photometric="rgb",
        byteorder=order,
        iccprofile=linear_profile,
    )
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(read_photo(tmp_path / "a.tif") - 255 * expected).max() <= 0.7


def test_16_bit_grey_of_a_linear_grey_profile(tmp_path, linear_grey_profile):
    light = unit(1) ** 3
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples_of(light, "uint16").squeeze(),
        photometric="minisblack",
        iccprofile=linear_grey_profile,
    )
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert_shown(read_photo(tmp_path / "a.tif"), expected, 0.7)


@pytest.mark.parametrize("compression", ["lzw", "zstd", "packbits"])
@pytest.mark.parametrize("predictor", [False, True])
def test_compressed_floating_point(tmp_path, compression, predictor):
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples_of(unit(3), "float32"),
        photometric="rgb",
        compression=compression,
        predictor=predictor and compression != "packbits",
    )
    assert_shown(read_photo(tmp_path / "a.tif"), unit(3))


def test_without_a_codec_the_error_says_what_to_install(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", unit(3).astype("f4"), photometric="rgb", compression="lzw")

    def lacking(page):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", lacking)
    with pytest.raises(ImageFileError, match=r"a\.tif: .*--upgrade imagecodecs"):
        read_photo(tmp_path / "a.tif")


def test_12_bits_are_brought_to_the_full_range(tmp_path):
    """Pillow unpacks them and leaves them at a sixteenth of their brightness."""
    codes = np.round(unit(1)[..., 0] * 4095).astype(np.uint16)
    pairs = codes.reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, 0] << 12 | pairs[:, 1]).astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((HEIGHT, WIDTH), np.uint16))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        page = file.pages.first
        page.tags["BitsPerSample"].overwrite(12)
        page.tags["StripByteCounts"].overwrite(packed.size)
        file.filehandle.seek(page.dataoffsets[0])
        file.filehandle.write(packed.tobytes())
    assert_shown(read_photo(tmp_path / "a.tif"), unit(1), 0.6)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda v: v * 2, r"floats in \[0, 1\]; found float32 in \[0, 2\]"),
        (lambda v: v * np.nan, "nan"),
        (lambda v: v - 0.5, r"\[-0\.5, 0\.5\]"),
    ],
)
def test_colours_beyond_white_are_refused(tmp_path, bad, said):
    tifffile.imwrite(tmp_path / "a.tif", bad(unit(3).astype(np.float32)), photometric="rgb")
    with pytest.raises(ImageFileError, match=rf"a\.tif: .*{said}"):
        read_photo(tmp_path / "a.tif")


def test_rounding_beyond_white_is_none(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", unit(3).astype("f4") * 1.001, photometric="rgb")
    assert read_photo(tmp_path / "a.tif").max() == 255


@pytest.mark.parametrize("kind", ["uint32", "int16", "int32"])
def test_numbers_without_a_known_white_are_refused(tmp_path, kind):
    tifffile.imwrite(tmp_path / "a.tif", samples_of(unit(3) / 2, kind), photometric="rgb")
    with pytest.raises(ImageFileError, match=rf"a\.tif: .*expected 8 or 16 bits.*{kind}"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("photometric", ["cielab", "separated"])
def test_other_colours_of_floating_point_are_refused_by_name(tmp_path, photometric):
    channels = 4 if photometric == "separated" else 3
    tifffile.imwrite(tmp_path / "a.tif", unit(channels).astype("f4"), photometric=photometric)
    with pytest.raises(ImageFileError, match=rf"a\.tif: .*{photometric.upper()}.*grey or RGB"):
        read_photo(tmp_path / "a.tif")


def test_cmyk_and_lab_of_8_bits(tmp_path):
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[..., 1:3] = 255
    tifffile.imwrite(tmp_path / "a.tif", ink, photometric="separated")
    assert read_photo(tmp_path / "a.tif")[0, 0].tolist() == [255, 0, 0]
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (8, 8), (200, 30, 10)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    lab.save(tmp_path / "lab.tif")
    assert np.abs(read_photo(tmp_path / "lab.tif")[0, 0].astype(int) - (200, 30, 10)).max() <= 3


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["float32", "uint16"])
def test_truncated_deep_files_are_errors(tmp_path, compression, kind):
    random = np.random.default_rng(0).random((90, 90, 3))
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.ascontiguousarray(np.moveaxis(samples_of(random, kind), 2, 0)),
        photometric="rgb",
        planarconfig="separate",
        compression=compression,
    )
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageFileError, match=r"a\.tif"):
        read_photo(tmp_path / "a.tif")


def test_pillows_limit_holds_for_tifffile_too(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", unit(3).astype("f4"), photometric="rgb")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 2 - 1)
    with pytest.raises(ImageFileError, match=r"a\.tif: .*exceeds limit"):
        read_photo(tmp_path / "a.tif")


def test_the_first_page_of_floating_point(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for values in (unit(3), 1 - unit(3)):
            file.write(values.astype("f4"), photometric="rgb", contiguous=False)
    assert_shown(read_photo(tmp_path / "a.tif"), unit(3))


def test_white_is_zero_in_memory(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", samples_of(1 - unit(1), "uint16")[..., 0], photometric="miniswhite"
    )
    with Image.open(tmp_path / "a.tif") as image:
        assert_shown(rgb_pixels(image), unit(1))


def test_colours_without_enough_samples_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", unit(1)[..., 0].astype("f8"), photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags["PhotometricInterpretation"].overwrite(2)
    with pytest.raises((ImageFormatError, ImageFileError)):
        read_deep_tiff(tmp_path / "a.tif")


@pytest.mark.data
def test_the_reported_files(data):
    reference = read_photo(data / "faults" / "images" / "unlisted" / "00_ref.png")
    assert np.array_equal(read_photo(data / "faults" / "images" / "07_rgb_f32.tif"), reference)
    grey = read_photo(data / "faults" / "images" / "02_grey16_miniswhite.tif")[..., 0]
    stored = tifffile.imread(data / "faults" / "images" / "02_grey16_miniswhite.tif")
    assert np.abs(grey - (255 - stored / 257)).max() <= 0.51
    correlation = np.corrcoef(grey.ravel(), reference.mean(axis=2).ravel())[0, 1]
    assert correlation > 0.9


def tagged(path, pages) -> None:
    with tifffile.TiffWriter(path) as file:
        for samples, options in pages:
            file.write(samples, metadata=None, **{"photometric": "rgb", **options})


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("first", [[1], [4], [1, 4]])
@pytest.mark.parametrize("planes", [False, True])
def test_thumbnails_and_masks_before_the_photograph_are_passed_over(tmp_path, kind, first, planes):
    values = unit(3)
    small = samples_of(values[::2, ::2], kind)
    samples = samples_of(values, kind)
    layout = {"planarconfig": "separate"} if planes else {}
    samples = np.moveaxis(samples, 2, 0) if planes else samples
    mask = (values[..., 0] > 0.5, {"subfiletype": 4, "photometric": "minisblack"})
    pages = [(small, {"subfiletype": 1}) if bits == 1 else mask for bits in first]
    tagged(tmp_path / "a.tif", [*pages, (samples, layout), (small, {})])
    assert_shown(read_photo(tmp_path / "a.tif"), values)


def test_a_photograph_that_calls_itself_reduced_is_all_there_is(tmp_path):
    tagged(tmp_path / "a.tif", [(samples_of(unit(3), "uint8"), {"subfiletype": 1})])
    assert_shown(read_photo(tmp_path / "a.tif"), unit(3))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"extratags": [(50706, 1, 4, (1, 4, 0, 0), True)]}, {}),
        ({"subfiletype": 1, "subifds": 1}, {"photometric": 32803}),
        ({"subfiletype": 1, "subifds": 1}, {"photometric": 34892}),
        ({"subfiletype": 1}, {"photometric": 32803}),
    ],
)
def test_raw_files_are_to_be_developed_first(tmp_path, first, second):
    samples = samples_of(unit(3), "uint8")
    raw = samples[..., 0] if second.get("photometric") == 32803 else samples
    tagged(tmp_path / "a.dng", [(samples, first), (raw, second)])
    with pytest.raises(ImageFileError, match=r"a\.dng: .*a RAW file: develop it first"):
        read_photo(tmp_path / "a.dng")


def test_a_photograph_in_a_sub_ifd_is_not_replaced_by_its_thumbnail(tmp_path):
    samples = samples_of(unit(3), "uint8")
    tagged(tmp_path / "a.tif", [(samples, {"subfiletype": 1, "subifds": 1}), (samples, {})])
    with pytest.raises(ImageFileError, match="photograph lies in a SubIFD"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.data
def test_a_raw_file_of_a_camera(data):
    with pytest.raises(ImageFileError, match=r"nikon_d1\.nef: .*a RAW file: develop it first"):
        read_photo(data / "raw" / "cameras" / "nikon_d1.nef")
