import pytest
import torch
from torch.nn.functional import interpolate

from attiqa import views as views_module
from attiqa.checkpoints import Protocol
from attiqa.views import resize_short_side, views


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
    crops = views(photo, Protocol(short_side=40, crop=32))
    places = [(0, 0), (0, 28), (8, 0), (8, 28), (4, 14)]
    expected = torch.stack([photo[0, :, y : y + 32, x : x + 32] for y, x in places])
    assert torch.equal(crops[0], expected)


def test_views_stay_in_range():
    edge = torch.zeros(1, 3, 64, 64)
    edge[..., 32:] = 1  # bicubic overshoots here
    crops = views(edge, Protocol(short_side=100, crop=90))
    assert crops.min() == 0
    assert crops.max() == 1
