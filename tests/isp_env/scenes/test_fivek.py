"""FiveK on a miniature in its official layout."""

import csv
import io
import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from isp_env.color.output_spaces import PROPHOTO, SRGB
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.fivek import FiveKError, Split, read_expert, read_fivek, read_test_b, split_ids
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate

NAMES = {1: "a0001-jmac_DSC1459", 14: "a0014-WP_CRW_6320", 4501: "a4501-DSC_0038"}


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.9, (3, 4, 6)).repeat(16, 1).repeat(16, 2)


@pytest.fixture
def root(tmp_path) -> Path:
    """Three photographs and experts A and C, as in the archive."""
    for number, name in NAMES.items():
        dng = tmp_path / "raw_photos" / ("HQa1to700" if number < 700 else "HQa4201to5000")
        dng = dng / "photos" / f"{name}.dng"
        dng.parent.mkdir(parents=True, exist_ok=True)
        raw, _ = simulate(photo(number), NIKON_D750, Capture(), np.random.default_rng(number))
        write_dng(raw, dng)
        for expert in "ac":
            tiff = tmp_path / f"tiff16_{expert}" / f"{name}.tif"
            tiff.parent.mkdir(exist_ok=True)
            write_tiff(tiff, photo(number))
    return tmp_path


def write_tiff(path: Path, picture: np.ndarray, profile: bytes | None = PROPHOTO.icc_profile):
    pixels = np.moveaxis((picture * 65535).round().astype(np.uint16), 0, 2)
    tifffile.imwrite(
        path, pixels, photometric="rgb", compression="zlib", predictor=True, iccprofile=profile
    )


SPLITS: tuple[Split, ...] = ("train", "validation", "test_a", "test_b")


def test_splits_leave_test_b_out_and_cover_everything():
    listed = frozenset(range(3, 5001, 5))
    ids = [split_ids(split, listed) for split in SPLITS]
    train, validation, a, b = map(set, ids)
    assert all(list(numbers) == sorted(numbers) for numbers in ids)
    assert not (train | validation) & (a | b)
    assert b == listed
    assert train | validation | a | b == set(range(1, 5001))
    assert a == set(range(4501, 5001))
    assert max(train) <= 4000 < min(validation)
    assert max(validation) <= 4500


@pytest.mark.data
def test_splits_of_the_published_list(data):
    path = data / "labels" / "fivek_index.csv"
    listed = read_test_b(path)
    with path.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["in_exposure_test_1000"] == "1"]
    assert {f"a{number:04d}" for number in listed} == {r["basename"][:5] for r in rows}
    sizes = [len(split_ids(split, listed)) for split in SPLITS]
    assert sizes == [3205, 385, 500, 1000]
    assert len(listed & set(split_ids("test_a", listed))) == 90


@pytest.mark.parametrize("line", ["{:d}", "a{:04d}-x_DSC1", "a{:04d}"])
def test_list_of_test_b(tmp_path, line):
    ids = range(2, 2002, 2)
    (tmp_path / "list.txt").write_text("\n".join(map(line.format, ids)) + "\n")
    assert read_test_b(tmp_path / "list.txt") == frozenset(ids)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("1\n2\n", "found 2 among 2"), ("\n".join(map(str, range(4500, 5500))), "expected 1,000")],
)
def test_another_list_is_refused(tmp_path, text, reason):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(FiveKError, match=reason):
        read_test_b(tmp_path / "list.txt")
    with pytest.raises(FiveKError, match=r"FiveK_test\.txt"):
        read_test_b(tmp_path / "none.txt")


def test_photographs_are_found_in_the_archives_layout(root):
    photos = read_fivek(root, [4501, 1], ["a", "c"])
    assert [(p.id, p.name) for p in photos] == [(4501, NAMES[4501]), (1, NAMES[1])]
    assert photos[1].dng == root / "raw_photos/HQa1to700/photos/a0001-jmac_DSC1459.dng"
    assert photos[1].experts["c"] == root / "tiff16_c/a0001-jmac_DSC1459.tif"


@pytest.mark.parametrize("nested", ["fivek_dataset", "img"])
def test_photographs_are_found_in_other_layouts(root, tmp_path_factory, nested):
    other = tmp_path_factory.mktemp("fivek")
    (other / nested).mkdir()
    (root / "raw_photos/HQa1to700/photos").rename(other / nested / "dng")
    (root / "tiff16_c").rename(other / nested / "tiff16_c")
    (found,) = read_fivek(other, [14], ["c"])
    assert found.dng.name == "a0014-WP_CRW_6320.dng"
    assert found.dng.exists()
    assert found.experts["c"].exists()


def test_what_is_missing_is_named(root):
    (root / "tiff16_c" / f"{NAMES[14]}.tif").unlink()
    with pytest.raises(FiveKError) as caught:
        read_fivek(root, [1, 14, *range(100, 120)], ["c", "e"])
    said = str(caught.value)
    assert str(root) in said
    assert "no DNG of 20: a0100-*.dng, a0101-*.dng" in said
    assert "a0110" not in said
    assert "no rendering by expert C of 1: tiff16_c/a0014-WP_CRW_6320.tif" in said
    assert "no rendering by expert E of 2" in said
    assert "https://data.csail.mit.edu/graphics/fivek" in said


def test_a_part_of_the_data_set_on_request(root, caplog):
    with caplog.at_level(logging.WARNING):
        photos = read_fivek(root, split_ids("test_a", frozenset()), ["c"], partial=True)
    assert [p.id for p in photos] == [4501]
    assert "no DNG of 499" in caplog.text
    (root / "tiff16_c" / f"{NAMES[1]}.tif").unlink()
    assert [p.id for p in read_fivek(root, [1, 14], ["c"], partial=True)] == [14]


def test_folders_that_are_no_fivek(tmp_path):
    with pytest.raises(FiveKError, match=r"no DNG of FiveK.*raw_photos"):
        read_fivek(tmp_path, [1])
    with pytest.raises(FiveKError, match="no such folder"):
        read_fivek(tmp_path / "absent", [1])


def test_colors_of_a_rendering_as_littlecms_finds_them(tmp_path):
    """Levels that 8 bits hold too, for Pillow has no 16-bit RGB."""
    levels = np.random.default_rng(0).integers(40, 216, (32, 32, 3), np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, levels.astype(np.uint16) * 257, photometric="rgb", iccprofile=PROPHOTO.icc_profile
    )
    expected = ImageCms.profileToProfile(
        Image.fromarray(levels),
        ImageCms.ImageCmsProfile(io.BytesIO(PROPHOTO.icc_profile)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    found = np.moveaxis(read_expert(path), 0, 2) * 255
    error = np.abs(found - np.asarray(expected, float))
    assert error.mean() < 0.5
    assert error.max() < 2


def test_the_files_own_profile_counts(tmp_path):
    picture = photo(0)
    write_tiff(tmp_path / "s.tif", picture, SRGB.icc_profile)
    write_tiff(tmp_path / "p.tif", picture)
    assert read_expert(tmp_path / "s.tif") == pytest.approx(picture, abs=2e-3)
    assert np.abs(read_expert(tmp_path / "p.tif") - picture).max() > 0.05


def test_a_file_without_profile_is_prophoto(tmp_path, caplog):
    write_tiff(tmp_path / "with.tif", photo(0))
    write_tiff(tmp_path / "without.tif", photo(0), None)
    with caplog.at_level(logging.WARNING):
        found = read_expert(tmp_path / "without.tif")
    assert "taken for ProPhoto" in caplog.text
    assert np.array_equal(found, read_expert(tmp_path / "with.tif"))


def test_greys_of_prophoto_have_the_light_of_romm(tmp_path):
    """ISO 22028-2: level 0.5 is 0.5^1.8 of light; IEC 61966-2-1 encodes it."""
    write_tiff(tmp_path / "grey.tif", np.full((3, 8, 8), 0.5))
    expected = 1.055 * (0.5**1.8) ** (1 / 2.4) - 0.055
    assert read_expert(tmp_path / "grey.tif") == pytest.approx(expected, abs=1e-3)


def test_reduction_averages_light(tmp_path):
    """Black and white stripes become the grey of half the light."""
    stripes = np.zeros((3, 64, 64))
    stripes[:, :, ::2] = 1
    write_tiff(tmp_path / "stripes.tif", stripes)
    small = read_expert(tmp_path / "stripes.tif", (8, 8))
    assert small.shape == (3, 8, 8)
    assert small[:, 2:6, 2:6] == pytest.approx(1.055 * 0.5 ** (1 / 2.4) - 0.055, abs=0.01)


def test_orientation(tmp_path):
    picture = photo(3)
    pixels = np.moveaxis((np.rot90(picture, 1, (1, 2)) * 65535).astype(np.uint16), 0, 2)
    tifffile.imwrite(
        tmp_path / "turned.tif",
        np.ascontiguousarray(pixels),
        photometric="rgb",
        iccprofile=SRGB.icc_profile,
        extratags=[(274, "H", 1, 6, True)],  # the camera was held so that right is up
    )
    assert read_expert(tmp_path / "turned.tif") == pytest.approx(picture, abs=2e-3)


def test_renderings_that_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    write_tiff(path, photo(0))
    with pytest.raises(FiveKError, match=r"a.tif: 96x64 is no rendering of 32x48"):
        read_expert(path, (48, 32))
    tifffile.imwrite(path, np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(FiveKError, match=r"a.tif: expected 16-bit RGB, got uint8"):
        read_expert(path)
    path.write_bytes(b"II*\0 no picture")
    with pytest.raises(FiveKError, match=r"a.tif: cannot be read"):
        read_expert(path)
    with pytest.raises(FiveKError, match=r"b.tif: cannot be read"):
        read_expert(tmp_path / "b.tif")
    write_tiff(path, photo(0), b"no profile" * 20)
    with pytest.raises(FiveKError, match=r"a.tif: not an ICC profile"):
        read_expert(path)
