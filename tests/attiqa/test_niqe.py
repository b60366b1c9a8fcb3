"""NIQE against SciPy, random numbers of known distribution, and the authors' own parameters."""

import io

import numpy as np
import pytest
import torch
from kornia.filters import gaussian_blur2d
from PIL import Image
from scipy import ndimage, stats
from scipy.special import gamma

from attiqa.datasets.folder import list_photos
from attiqa.errors import CheckpointError
from attiqa.natural_scenes import (
    fit_asymmetric,
    luma,
    normalise,
    patch_statistics,
    picture_statistics,
    statistics,
)
from attiqa.niqe import fit_pristine, load_pristine, load_released, niqe, save_pristine
from attiqa.scoring import to_tensor
from attiqa.views import resize_short_side


def plain_fit(values: np.ndarray) -> tuple[float, float, float]:
    """The authors' search over a grid, written with SciPy: exponent and both scales."""
    grid = np.arange(0.2, 10.001, 0.001)
    moments = gamma(2 / grid) ** 2 / (gamma(1 / grid) * gamma(3 / grid))
    left, right = (np.sqrt(np.mean(side**2)) for side in (values[values < 0], values[values > 0]))
    g = left / right
    r = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    r *= (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    shape = grid[np.argmin((moments - r) ** 2)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def plain_mscn(plane: np.ndarray) -> np.ndarray:
    axis = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(axis, axis) / np.outer(axis, axis).sum()
    mean = ndimage.correlate(plane, window, mode="nearest")
    variance = ndimage.correlate(plane**2, window, mode="nearest") - mean**2
    return (plane - mean) / (np.sqrt(np.abs(variance)) + 1)


def plain_statistics(block: np.ndarray) -> np.ndarray:
    shape, left, right = plain_fit(block.ravel())
    found = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = plain_fit((block * np.roll(block, shift, (0, 1))).ravel())
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.array(found)


def jpeg(images: torch.Tensor, quality: int) -> torch.Tensor:
    pixels = (images[0].permute(1, 2, 0) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=quality)
    return to_tensor(Image.open(file))[None]


def blur(images: torch.Tensor) -> torch.Tensor:
    return gaussian_blur2d(images, (9, 9), (1.5, 1.5))


def noise(images: torch.Tensor) -> torch.Tensor:
    numbers = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + 0.05 * numbers).clamp(0, 1)


DISTORTIONS = {"blur": blur, "noise": noise, "jpeg": lambda x: jpeg(x, 10)}


def test_luma_is_pillows(photo):
    grey = np.asarray(Image.fromarray(photo).convert("L"), float)
    found = luma(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)[0, 0].numpy()
    assert np.abs(found - grey).max() <= 0.51  # Pillow rounds


def test_normalised_luma_is_scipys(small):
    planes = luma(small)
    expected = np.stack([plain_mscn(plane[0].numpy()) for plane in planes])
    np.testing.assert_allclose(normalise(planes)[0][:, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 4.0])
def test_the_fit_finds_the_distribution_that_numbers_were_drawn_from(shape):
    values = stats.gennorm.rvs(shape, scale=0.7, size=(400, 400), random_state=0)
    fit = fit_asymmetric(torch.from_numpy(values)[None])
    assert fit.shape.item() == pytest.approx(shape, rel=0.05)
    assert fit.left.item() == pytest.approx(0.7, rel=0.05)
    assert fit.right.item() == pytest.approx(0.7, rel=0.05)


def test_the_fit_finds_both_widths():
    values = np.asarray(stats.gennorm.rvs(1.2, size=(600, 600), random_state=1))
    left = stats.uniform.rvs(size=values.shape, random_state=2) < 0.3 / (0.3 + 0.9)
    values = np.where(left, -0.3, 0.9) * np.abs(values)  # each side as often as it is wide
    fit = fit_asymmetric(torch.from_numpy(values)[None])
    found = (float(fit.shape), float(fit.left), float(fit.right))
    assert found == pytest.approx((1.2, 0.3, 0.9), rel=0.03)


def test_features_are_those_of_a_plain_computation(small):
    structure = normalise(luma(small))[0][:, 0]
    found = statistics(structure.unfold(1, 32, 32).unfold(2, 32, 32))[1, 2, 0]
    expected = plain_statistics(structure[1, 64:96, :32].numpy())
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)


def test_patches_are_the_parts_of_a_picture_and_the_rest_is_cut(clean):
    picture = clean[:1, :, :100, :70]
    found = patch_statistics(luma(picture), 32)
    assert found.features.shape == (1, 6, 36)
    whole = patch_statistics(luma(picture[..., :96, :64]), 32)
    torch.testing.assert_close(found.features, whole.features)
    inner = plain_mscn(luma(picture)[0, 0, :96, :64].numpy())
    np.testing.assert_allclose(
        found.features[0, 3, :18].numpy(), plain_statistics(inner[32:64, 32:]), atol=2e-3
    )


def test_a_batch_is_its_pictures_one_by_one(small):
    together = picture_statistics(luma(small))
    alone = torch.cat([picture_statistics(luma(one[None])) for one in small])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("patch", [33, 128])
def test_a_patch_must_be_even_and_fit(small, patch):
    with pytest.raises(ValueError, match="patch: expected an even side"):
        patch_statistics(luma(small), patch)


def test_pictures_that_show_nothing_are_infinitely_far():
    flat = torch.full((1, 3, 96, 96), 0.5)
    assert niqe(flat, load_pristine()).item() == float("inf")


def test_distance_is_the_papers_formula(small):
    model = load_pristine()
    patches = patch_statistics(luma(small[:1]), model.patch).features[0].numpy()
    pooled = (np.cov(patches.T) + model.covariance) / 2
    difference = patches.mean(0) - model.mean
    expected = np.sqrt(difference @ np.linalg.inv(pooled) @ difference)
    assert niqe(small[:1], model).item() == pytest.approx(expected, rel=1e-4)


def test_distortions_of_small_photographs_raise_it(clean):
    model, photos = load_pristine(), clean[:, :, :160, :160]
    before = niqe(photos, model)
    for distort in DISTORTIONS.values():
        after = torch.cat([niqe(distort(photo[None]), model) for photo in photos])
        assert (after > before).float().mean() >= 0.75
        assert after.mean() > before.mean() + 1


def test_a_model_is_the_same_after_it_was_saved(clean, tmp_path):
    model = fit_pristine(clean, 16)
    save_pristine(tmp_path / "model.safetensors", model)
    loaded = load_pristine(tmp_path / "model.safetensors")
    assert loaded.patch == 16
    np.testing.assert_array_equal(loaded.mean, model.mean)
    np.testing.assert_array_equal(loaded.covariance, model.covariance)


def test_a_model_needs_more_patches_than_features(clean):
    with pytest.raises(ValueError, match="more than 36 sharp patches"):
        fit_pristine(clean[:1], 96)


@pytest.mark.parametrize("load", [load_pristine, load_released])
def test_what_is_no_model_is_refused(tmp_path, load):
    (tmp_path / "broken").write_bytes(b"no model at all")
    for name in ("broken", "missing"):
        with pytest.raises(CheckpointError, match="cannot be read as a pristine model"):
            load(tmp_path / name)


@pytest.mark.data
def test_clean_photographs_have_the_usual_distance_from_the_authors_model(data):
    model = load_released(data / "weights" / "niqe_pristine.npz")
    photos = [to_tensor(path)[None] for path in list_photos(data / "kodak")[::8]]
    clean = np.array([niqe(photo, model).item() for photo in photos])
    assert clean.min() > 1.5
    assert clean.max() < 5
    assert 2.5 < clean.mean() < 3.5
    for name, distort in DISTORTIONS.items():
        worse = np.array([niqe(distort(photo), model).item() for photo in photos])
        assert (worse > clean).all(), name


@pytest.mark.data
def test_the_embedded_model_is_near_small_photographs(data):
    model = load_pristine()
    for side in (160, 224):
        photos = [
            resize_short_side(to_tensor(path)[None], side).clamp(0, 1)
            for path in list_photos(data / "kodak")[::8]
        ]
        assert 1.5 < np.mean([niqe(photo, model).item() for photo in photos]) < 4
