"""Full frames by strips against the same picture rendered whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data as photographs

from isp_env.develop.linear_image import LinearImage, upright
from isp_env.isp.default import DEFAULT_PIPELINE as PIPELINE
from isp_env.isp.parameters import to_theta
from isp_env.raw import RawImage, read_raw
from isp_env.render.frame import OutputSize, render_linear, render_raw
from isp_env.render.frame_in_torch import quantise, render_whole
from isp_env.scenes.samples import NIKON_D750
from isp_env.scenes.simulation import Capture, simulate

THETA = 2 * torch.rand(len(PIPELINE.parameters), generator=torch.Generator().manual_seed(3)) - 1


def shot(side: int, wide: int = 1, iso: int = 1600) -> RawImage:
    """A simulated photograph of side x (wide * side) pixels."""
    photo = np.tile(photographs.astronaut()[:side, :side], (1, wide, 1))
    photo = np.moveaxis(photo, 2, 0) / 255
    capture = Capture(iso=iso)
    raw, _ = simulate(photo.astype(np.float32), NIKON_D750, capture, np.random.default_rng(0))
    return raw


def without_mosaic(height: int, width: int, contrast: float = 0.4, iso: int = 1600) -> RawImage:
    """A linear picture with noise of its own in each pixel; flat where `contrast` is 0."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width] / 40
    waves = np.stack([np.sin(rows), np.sin(columns), np.sin(rows + columns)])
    raw = shot(128, iso=iso)
    level = 0.4 * (1 + contrast * waves) * raw.as_shot_neutral[:, None, None]
    assert raw.noise_profile is not None
    shot_noise, read_noise = raw.noise_profile
    level += rng.normal(size=level.shape) * np.sqrt(shot_noise * level + read_noise)
    whole = (0, 0, height, width)
    return replace(
        raw,
        mosaic=None,
        cfa=None,
        linear=(60000 * level).round().astype(np.uint16),
        black=np.zeros(3, np.float32),
        white=60000.0,
        active_area=whole,
        crop=whole,
    )


@pytest.fixture(scope="module")
def frame() -> RawImage:
    """Large enough for a guide that is smaller than the picture."""
    return shot(330, wide=3)


def test_strips_give_the_picture_that_is_rendered_whole(frame):
    for theta in (THETA, torch.zeros_like(THETA)):
        whole = quantise(render_whole(frame, theta), 16).astype(int)
        strips = render_raw(frame, theta, bits=16).astype(int)
        assert whole.shape == strips.shape == (330, 990, 3)
        assert np.abs(strips - whole).max() <= 2  # of 65,535
    assert np.abs(strips - render_raw(frame, THETA, bits=16).astype(int)).mean() > 500


def test_stages_that_do_nothing_are_skipped(frame):
    """No map is measured where denoising, local contrast and sharpening are off."""
    names = [p.name for p in PIPELINE.parameters]
    for idle in (["denoise"], ["local_contrast", "saturation", "vibrance"], ["denoise", "sharpen"]):
        theta = THETA.clone()
        for name in idle:
            theta[names.index(name)] = -1 if name in ("denoise", "sharpen") else 0
        whole = quantise(render_whole(frame, theta), 16).astype(int)
        assert np.abs(render_raw(frame, theta, bits=16).astype(int) - whole).max() <= 2
    theta = torch.zeros_like(THETA)
    theta[[names.index("denoise"), names.index("sharpen")]] = -1
    whole = quantise(render_whole(frame, theta), 16).astype(int)
    assert np.abs(render_raw(frame, theta, bits=16).astype(int) - whole).max() <= 2


def test_a_small_picture_is_its_own_guide():
    raw = shot(128)
    whole = quantise(render_whole(raw, THETA), 16).astype(int)
    assert np.abs(render_raw(raw, THETA, bits=16).astype(int) - whole).max() <= 2


@pytest.mark.parametrize(("height", "width"), [(331, 1003), (1701, 202), (101, 131)])
def test_strips_of_a_picture_without_a_mosaic(height, width):
    raw = without_mosaic(height, width)
    whole = quantise(render_whole(raw, THETA), 16).astype(int)
    strips = render_raw(raw, THETA, bits=16).astype(int)
    assert whole.shape == strips.shape == (height, width, 3)
    assert np.abs(strips - whole).max() <= 2


@pytest.mark.parametrize("width", [900, 1700])
def test_noise_of_a_picture_without_a_mosaic_is_removed(width):
    raw = without_mosaic(200, width, contrast=0, iso=6400)
    neutral = torch.zeros_like(THETA)
    noisy = neutral.clone()
    noisy[[p.name for p in PIPELINE.parameters].index("denoise")] = -1
    before, after = (
        render_raw(raw, theta, bits=16).std((0, 1)).mean() for theta in (noisy, neutral)
    )
    assert after < 0.15 * before


def test_tiles_of_any_height_give_the_same(frame):
    expected = render_raw(frame, THETA)
    for tile in (2, 7, 64, 1000):
        assert np.array_equal(render_raw(frame, THETA, tile=tile), expected)


def test_eight_bits_are_sixteen_rounded(frame):
    deep = render_raw(frame, THETA, bits=16)
    assert deep.dtype == np.uint16
    assert np.abs(render_raw(frame, THETA).astype(int) - deep / 257).max() <= 0.51


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation):
    raw = shot(128)
    expected = torch.from_numpy(render_raw(raw, THETA)).permute(2, 0, 1)
    turned = render_raw(replace(raw, orientation=orientation), THETA)
    assert np.array_equal(turned, upright(expected, orientation).permute(1, 2, 0).numpy())


def test_sizes_fit_the_box_and_never_grow(frame):
    assert OutputSize(long_side=400).of(330, 990) == (133, 400)
    assert OutputSize(width=300, height=300).of(400, 800) == (150, 300)
    assert OutputSize(height=100).of(400, 800) == (100, 200)
    assert OutputSize(long_side=5000).of(400, 800) == (400, 800)
    assert render_raw(frame, THETA, size=OutputSize(width=700)).shape == (233, 700, 3)
    deep = render_raw(frame, THETA, size=OutputSize(width=700), bits=16)
    assert (deep.dtype, deep.shape) == (np.uint16, (233, 700, 3))


def test_a_reduced_rendering_looks_like_the_reduced_full_rendering():
    frame = shot(330, wide=3, iso=100)
    neutral = torch.zeros_like(THETA)
    small = render_raw(frame, neutral, size=OutputSize(width=330)).astype(float)
    full = render_raw(frame, neutral).astype(float)
    means = [x.reshape(11, -1, 33, x.shape[1] // 33, 3).mean((1, 3)) for x in (small, full)]
    assert np.abs(means[0] - means[1]).mean() < 2.5


def test_quantise_rounds_to_the_nearest_and_clips():
    image = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).view(1, 1, 4).expand(3, 1, 4)
    assert quantise(image)[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.data
def test_real_cameras(data):
    theta = to_theta(PIPELINE.parameters, {"exposure": 0.5, "saturation": 0.3, "sharpen": 1.0})[0]
    raw = read_raw(data / "raw" / "cameras" / "canon_kiss_x4_colorchart.dng")
    whole = upright(render_whole(raw, theta), raw.orientation)
    strips = render_raw(raw, theta, bits=16).astype(int)
    assert np.abs(strips - quantise(whole, 16).astype(int)).max() <= 1


def test_the_order_of_the_knobs_does_not_matter(frame):
    names = [p.name for p in PIPELINE.parameters]
    turned = PIPELINE.only(names[::-1])
    expected = render_raw(frame, THETA, bits=16).astype(int)
    found = render_raw(frame, THETA.flip(0), pipeline=turned, bits=16).astype(int)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 5)])
def test_pictures_of_a_few_pixels_are_rendered(shape):
    """A wide crop at a small size is one row high."""
    image = LinearImage(torch.full((3, *shape), 0.2), torch.zeros(3, 2))
    pixels = render_linear(image, torch.zeros(len(PIPELINE.parameters)))
    assert pixels.shape == (*shape, 3)
    assert pixels.min() > 0


def test_ramps_have_no_bands():
    """Levels of a smooth ramp are those of the exact picture, rounded, for fifty settings.

    A table with too few entries, or a root that is too cheap, would show as steps here.
    """
    ramp = np.geomspace(0.001, 1.2, 1024, dtype=np.float32)
    tints = np.array([[1, 1, 1], [1.3, 1, 0.7], [0.6, 1, 1.4]], np.float32)
    linear = (tints.T[:, :, None] * ramp).repeat(2, axis=1)
    image = LinearImage(torch.from_numpy(linear), torch.full((3, 2), 1e-6))
    generator = torch.Generator().manual_seed(0)
    for theta in 2 * torch.rand(50, len(PIPELINE.parameters), generator=generator) - 1:
        exact = PIPELINE(image.rgb[None], theta[None], image.noise[None])[0]
        levels = render_linear(image, theta, bits=16).astype(np.float64) / 65535
        assert np.abs(levels - exact.permute(1, 2, 0).numpy()).max() < 5e-5
        shown = render_linear(image, theta).astype(int)
        assert np.abs(shown - np.round(levels * 255)).max() <= 1
        steps = np.abs(np.diff(shown, axis=1)).max()
        expected = np.abs(np.diff(levels * 255, axis=1)).max()
        assert steps <= np.ceil(expected) + 1
