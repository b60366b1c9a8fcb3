import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attiqa.data import views as views_module
from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.views import resize_short_side, views

ROUNDING = 3 / 255  # Pillow's, to 8 bits after each direction


@pytest.mark.parametrize("shape", [(300, 411), (411, 300), (90, 123), (64, 64)])
def test_resizing_in_strips_is_resizing(monkeypatch, shape):
    monkeypatch.setattr(views_module, "STRIP", 2000)  # a few rows at a time
    photo = torch.randint(0, 256, (1, 3, *shape), generator=torch.manual_seed(0)).byte()
    size = [round(96 * side / min(shape) - 0.49) for side in shape]
    whole = interpolate(photo.float() / 255, size, mode="bicubic", antialias=True)
    found = resize_short_side(photo, 96)
    assert found.shape == whole.shape
    assert torch.allclose(found, whole, atol=1e-5)
    assert torch.allclose(resize_short_side(photo.float() / 255, 96), whole, atol=1e-5)


def test_a_photograph_of_the_right_size_is_left_alone():
    photo = torch.rand(1, 3, 40, 50)
    assert torch.equal(resize_short_side(photo, 40), photo)


def test_views_are_the_corners_and_the_centre():
    photo = torch.rand(1, 3, 40, 60)
    crops = views(photo, CropProtocol(short_side=40, crop=32))
    places = [(0, 0), (0, 28), (8, 0), (8, 28), (4, 14)]
    expected = torch.stack([photo[0, :, y : y + 32, x : x + 32] for y, x in places])
    assert torch.equal(crops[0], expected)


def test_views_stay_in_range():
    edge = torch.zeros(1, 3, 64, 64)
    edge[..., 32:] = 1  # bicubic overshoots here
    crops = views(edge, CropProtocol(short_side=100, crop=90))
    assert crops.min() == 0
    assert crops.max() == 1


def five(pixels: np.ndarray, side: int) -> np.ndarray:
    """The corners and the centre, as numpy cuts them; in [0, 1]."""
    down, right = pixels.shape[0] - side, pixels.shape[1] - side
    places = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    cut = [pixels[y : y + side, x : x + side] for y, x in places]
    return (np.stack(cut).astype(np.float32) / 255).transpose(0, 3, 1, 2)


def chw(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def test_further_views_are_cut_at_their_scale_and_from_the_photograph_itself(photo):
    pixels = photo[:300, :400]
    protocol = CropProtocol(short_side=96, crop=64, further=(128, 0))
    crops = views(chw(pixels), protocol)[0].numpy()
    assert crops.shape == (15, 3, 64, 64)
    for first, size in ((0, (128, 96)), (5, (170, 128))):  # Pillow's: width, height
        resized = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        expected = five(np.asarray(resized), 64)
        assert np.abs(crops[first : first + 5] - expected).max() < ROUNDING
    assert np.array_equal(crops[10:], five(pixels, 64))
    of_float = views(chw(pixels).float() / 255, protocol)[0].numpy()
    assert np.array_equal(of_float[10:], five(pixels, 64))


def test_the_centre_of_each_scale(photo):
    pixels = photo[:300, :400]
    protocol = CropProtocol(short_side=96, crop=64, further=(300, 0))
    centres = views(chw(pixels), protocol, crops=1)[0].numpy()
    assert centres.shape == (3, 3, 64, 64)
    small = Image.fromarray(pixels).resize((128, 96), Image.Resampling.BICUBIC)
    assert np.abs(centres[0] - five(np.asarray(small), 64)[4]).max() < ROUNDING
    assert np.array_equal(centres[1:], five(pixels, 64)[[4, 4]])  # 300 is its own size


def test_a_photograph_smaller_than_the_crop_is_enlarged_to_it(photo):
    pixels = photo[100:148, 100:172]
    enlarged = Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC)
    crops = views(chw(pixels), CropProtocol(short_side=80, crop=64, further=(0,)))[0, 5:].numpy()
    assert np.abs(crops - five(np.asarray(enlarged), 64)).max() < ROUNDING
    just = views(chw(pixels), CropProtocol(short_side=80, crop=48, further=(0,)))[0, 5:].numpy()
    assert np.array_equal(just, five(pixels, 48))


def test_every_view_passes_gradients_on():
    photo = torch.full((1, 3, 40, 60), 0.5, requires_grad=True)
    views(photo, CropProtocol(short_side=40, crop=32, further=(0,))).sum().backward()
    seen = np.zeros((40, 60))
    for y, x in [(0, 0), (0, 28), (8, 0), (8, 28), (4, 14)]:
        seen[y : y + 32, x : x + 32] += 2  # the photograph has the first scale's size, too
    assert photo.grad is not None
    assert np.array_equal(photo.grad[0].numpy(), np.stack([seen] * 3))


class LargestFloat(TorchDispatchMode):
    """Records how many numbers the largest floating-point tensor has that is made."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                self.numbers = max(self.numbers, leaf.numel())
        return made


def test_8_bits_are_never_floating_point_at_full_size(monkeypatch):
    monkeypatch.setattr(views_module, "STRIP", 2000)
    photo = torch.zeros(1, 3, 1000, 1200, dtype=torch.uint8)
    with LargestFloat() as largest:
        views(photo, CropProtocol(short_side=40, crop=32, further=(64, 0)))
    assert 0 < largest.numbers < photo.numel() / 10
