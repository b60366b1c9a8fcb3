"""Sources of previews: RAW files with truths, FiveK, simulated shots; reading photographs."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from isp_env.color.output_spaces import DISPLAY_P3, PROPHOTO, SRGB
from isp_env.errors import RawFileError
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.fivek import FiveKPhoto, read_fivek
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.preview_store import PreviewStore, StoreSettings
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulated_raw import simulated_previews
from isp_env.scenes.simulation import Capture, simulate
from isp_env.scenes.sources import (
    FiveKSource,
    RawSource,
    SimulatedSource,
    Source,
    find_photos,
    read_srgb,
    simulated_sources,
)
from isp_env.scenes.store_building import build_previews

PHOTOS = [np.ascontiguousarray(data.astronaut()[row : row + 128, :128]) for row in (0, 128, 256)]


def stored(sources: list, folder: Path, side: int = 48, square: bool = True) -> PreviewSet:
    settings = StoreSettings(side=side, square=square, truth=True)
    for built in build_previews(sources, folder, settings, workers=0):
        assert built.status == "done", built.reason
    return PreviewStore.open(folder).previews()


def save(pixels: np.ndarray, path: Path, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_raw_file_and_the_truth_beside_it(tmp_path):
    picture = np.moveaxis(PHOTOS[0] / 255, 2, 0)
    raw, _ = simulate(picture, NIKON_D750, Capture(), np.random.default_rng(0))
    write_dng(raw, tmp_path / "a.dng")
    assert RawSource(tmp_path / "a.dng").shoot().truth is None
    save(PHOTOS[0], tmp_path / "a.truth.png")
    scenes = stored([RawSource(tmp_path / "a.dng")], tmp_path / "store", side=64)
    expected = picture.reshape(3, 64, 2, 64, 2).mean((2, 4))
    assert scenes.truth is not None
    assert np.abs(scenes.truth[0] - expected).mean() < 0.01
    linear, noise = scenes.images(np.array([0]), "cpu")
    theta = linear.new_zeros(1, len(DEFAULT_PIPELINE.parameters))
    rendered = DEFAULT_PIPELINE(linear, theta, noise)[0].numpy()
    assert np.abs(rendered - expected).mean() < 0.03  # a clean shot renders to its truth


def test_simulated_shots_are_those_of_the_training_scenes(tmp_path):
    paths = [save(photo, tmp_path / f"{n}.png") for n, photo in enumerate(PHOTOS)]
    sources = [SimulatedSource(path, 7, number) for number, path in enumerate(paths)]
    scenes = stored(sources, tmp_path / "store")
    expected = simulated_previews(PHOTOS, 48, seed=7)
    assert scenes.truth is not None
    for name in ("linear", "noise", "as_shot_neutral", "iso", "truth"):
        assert np.array_equal(getattr(scenes, name), getattr(expected, name)), name


def test_shots_of_few_photographs_differ(tmp_path):
    paths = [save(photo, tmp_path / f"{n}.png") for n, photo in enumerate(PHOTOS[:2])]
    sources = simulated_sources(paths, 5, seed=1)
    assert len({source.name for source in sources}) == 5
    assert [s.path for s in sources[:2]] == [s.path for s in sources[2:4]]
    assert {s.path for s in sources} == set(paths)
    scenes = stored(sources, tmp_path / "store")
    assert not np.array_equal(scenes.linear[0], scenes.linear[2])
    assert sources == simulated_sources(paths, 5, seed=1)
    many = [tmp_path / f"{n}.png" for n in range(50)]
    orders = [[s.path for s in simulated_sources(many, 50, seed)] for seed in (1, 2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(many)
    with pytest.raises(ValueError, match="no photographs"):
        simulated_sources([], 5, seed=1)


def test_a_simulated_source_is_found_by_its_name(tmp_path):
    source = SimulatedSource(tmp_path / "a, shot 2 of seed 3 at 4", 7, 5, side=96)
    assert SimulatedSource.named(source.name) == source
    with pytest.raises(ValueError, match=r"photo.png.*not the name of a simulated shot"):
        SimulatedSource.named("photo.png")


def test_large_and_odd_photographs_are_reduced(tmp_path):
    path = save(data.astronaut()[:301, :401], tmp_path / "a.png")
    raw = SimulatedSource(path, 0, 0, side=101).shoot().raw
    assert raw.mosaic is not None
    assert raw.mosaic.shape == (100, 134)  # 101 x 134.55, made even


@pytest.fixture
def fivek(tmp_path) -> FiveKPhoto:
    """One photograph in the archive's layout; expert C turned it into its negative."""
    name = "a4501-DSC_0038"
    picture = np.moveaxis(PHOTOS[0][:96] / 255, 2, 0)
    raw, _ = simulate(picture, NIKON_D750, Capture(orientation=6), np.random.default_rng(0))
    dng = tmp_path / "raw_photos" / "HQa4201to5000" / "photos" / f"{name}.dng"
    dng.parent.mkdir(parents=True)
    write_dng(raw, dng)
    (tmp_path / "tiff16_c").mkdir()
    tifffile.imwrite(
        tmp_path / "tiff16_c" / f"{name}.tif",
        ((1 - PHOTOS[0][:96] / 255) * 65535).astype(np.uint16),
        photometric="rgb",
        iccprofile=SRGB.icc_profile,
    )
    (photo,) = read_fivek(tmp_path, [4501], ["c"])
    return photo


def test_fivek_with_the_rendering_of_an_expert(fivek, tmp_path):
    scenes = stored([FiveKSource(fivek)], tmp_path / "store", side=64, square=False)
    assert scenes.linear.shape == (1, 3, 48, 64)
    negative = 1 - np.moveaxis(PHOTOS[0][:96] / 255, 2, 0)
    expected = negative.reshape(3, 48, 2, 64, 2).mean((2, 4))
    assert scenes.truth is not None
    assert np.abs(scenes.truth[0] - expected).mean() < 0.02


def test_fivek_without_experts(fivek):
    source = FiveKSource(fivek, None)
    assert source.shoot().truth is None
    assert source.name != FiveKSource(fivek).name


def test_an_experts_picture_of_another_shape_is_no_truth(fivek, tmp_path):
    tifffile.imwrite(
        fivek.experts["c"], np.zeros((128, 96, 3), np.uint16), photometric="rgb", iccprofile=None
    )
    settings = StoreSettings(side=64, square=False, truth=True)
    (built,) = build_previews([FiveKSource(fivek)], tmp_path / "store", settings, workers=0)
    assert built.status == "failed"
    assert built.reason is not None
    assert "96x128 is no rendering of 64x48" in built.reason


def test_every_source_is_one(fivek, tmp_path):
    for source in (RawSource(tmp_path), FiveKSource(fivek), SimulatedSource(tmp_path, 0, 0)):
        assert isinstance(source, Source)


def test_photographs_are_read_as_a_viewer_shows_them(tmp_path):
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :15] = 200
    exif = Image.Exif()
    exif[274] = 6
    turned = save(np.ascontiguousarray(np.rot90(picture)), tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_srgb(turned), picture)
    grey = save(picture[..., 0], tmp_path / "grey.png")
    assert np.array_equal(read_srgb(grey), picture)


def test_the_profile_of_a_photograph_is_obeyed(tmp_path):
    # CSS Color Module Level 4: display-p3 0.6 0.4 0.2 is srgb 0.6296 0.3934 0.1384
    pixels = np.broadcast_to(np.array([153, 102, 51], np.uint8), (4, 4, 3))
    path = save(
        np.ascontiguousarray(pixels), tmp_path / "p3.png", icc_profile=DISPLAY_P3.icc_profile
    )
    matrix = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    linear = matrix @ (((np.array([0.6, 0.4, 0.2]) + 0.055) / 1.055) ** 2.4)
    expected = (1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert read_srgb(path)[0, 0] == pytest.approx(expected, abs=1.5)


def test_files_that_are_no_photographs(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(RawFileError, match=r"a\.jpg: cannot be read as an image"):
        read_srgb(tmp_path / "a.jpg")
    save(PHOTOS[0], tmp_path / "b.png", icc_profile=PROPHOTO.icc_profile[:300])
    with pytest.raises(RawFileError, match=r"b\.png: its colour profile is damaged"):
        read_srgb(tmp_path / "b.png")
    whole = io.BytesIO()
    Image.fromarray(PHOTOS[0]).save(whole, "JPEG")
    (tmp_path / "c.jpg").write_bytes(whole.getvalue()[:2000])
    with pytest.raises(RawFileError, match=r"c\.jpg: cannot be read"):
        read_srgb(tmp_path / "c.jpg")


def test_photographs_are_found_below_a_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    wanted = [save(PHOTOS[0], tmp_path / name) for name in ("b.PNG", "deep/a.jpg")]
    (tmp_path / "notes.txt").write_text("")
    assert find_photos(tmp_path) == wanted
