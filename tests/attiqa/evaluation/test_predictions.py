import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d

from attiqa.data.crop_protocol import CropProtocol
from attiqa.evaluation.predictions import (
    backbone_features,
    crop_means,
    head_features,
    quality_scores,
)


@pytest.fixture
def photos(photo) -> list[np.ndarray]:
    return [photo[:200, :300], photo[100:340, :180], photo[:96, :96]]


def test_five_corners_by_hand(photos, tiny_net):
    small = [photo[:96, :128] for photo in photos]
    protocol = CropProtocol(short_side=96, crop=64)
    mean_pixel = lambda x: avg_pool2d(x, 64).flatten(1)  # noqa: E731
    found = crop_means(tiny_net, mean_pixel, small, protocol)
    for row, photo in zip(found, small, strict=True):
        height, width = photo.shape[:2]
        corners = [(0, 0), (0, width - 64), (height - 64, 0), (height - 64, width - 64)]
        corners.append(((height - 64) // 2, (width - 64) // 2))
        crops = [photo[top : top + 64, left : left + 64] / 255 for top, left in corners]
        assert row == pytest.approx(np.mean(crops, axis=(0, 1, 2)), abs=1e-5)
    centre = crop_means(tiny_net, mean_pixel, small[:1], protocol, crops=1)
    assert centre[0] == pytest.approx(crops_centre(small[0]), abs=1e-5)


def test_the_crops_of_all_scales_are_averaged(photos, tiny_net):
    small, own = photos[0][:96, :128], photos[0][:96, :128].astype(float) / 255
    doubled = CropProtocol(short_side=96, crop=64, further=(96, 0))  # its own size three times
    enlarged = CropProtocol(short_side=96, crop=64, further=(192,))
    mean_pixel = lambda x: avg_pool2d(x, 64).flatten(1)  # noqa: E731
    corners = [(0, 0), (0, 64), (32, 0), (32, 64), (16, 32)]
    expected = np.mean([own[y : y + 64, x : x + 64] for y, x in corners], axis=(0, 1, 2))
    found = crop_means(tiny_net, mean_pixel, [small] * 5, doubled)
    assert found == pytest.approx(np.tile(expected, (5, 1)), abs=1e-5)
    once = crop_means(tiny_net, mean_pixel, [small] * 5, CropProtocol(192, 64))[0]
    both = crop_means(tiny_net, mean_pixel, [small] * 5, enlarged)
    assert both == pytest.approx(np.tile((expected + once) / 2, (5, 1)), abs=1e-5)
    assert np.abs(expected - once).max() > 1e-2


def test_the_centres_of_all_scales_are_averaged(photos, tiny_net):
    small = photos[0][:96, :128]
    native = CropProtocol(short_side=64, crop=64, further=(0,))
    mean_pixel = lambda x: avg_pool2d(x, 64).flatten(1)  # noqa: E731
    found = crop_means(tiny_net, mean_pixel, [small, small], native, crops=1)
    shrunk = np.asarray(Image.fromarray(small).resize((85, 64), Image.Resampling.BICUBIC))
    expected = (crops_centre(small) + crops_centre(shrunk)) / 2
    assert found == pytest.approx(np.stack([expected] * 2), abs=2e-3)  # Pillow rounds
    assert np.abs(crops_centre(small) - crops_centre(shrunk)).max() > 2e-2


def crops_centre(photo: np.ndarray) -> np.ndarray:
    top, left = (photo.shape[0] - 64) // 2, (photo.shape[1] - 64) // 2
    return photo[top : top + 64, left : left + 64].mean((0, 1)) / 255


def test_a_photograph_scores_the_same_alone_and_among_others(photos, tiny_net):
    protocol = CropProtocol(short_side=80, crop=64)
    many = quality_scores(tiny_net, photos * 6, protocol)
    alone = np.concatenate([quality_scores(tiny_net, [photo], protocol) for photo in photos])
    assert many == pytest.approx(np.tile(alone, 6), abs=1e-5)
    assert np.ptp(alone) > 5e-5  # they differ by more than is allowed above


def test_the_mode_of_the_network_comes_back_and_its_statistics_stay(photos, tiny_net):
    before = {name: value.clone() for name, value in tiny_net.state_dict().items()}
    tiny_net.train()
    quality_scores(tiny_net, photos, CropProtocol(64, 48))
    assert tiny_net.training
    assert all(torch.equal(before[name], value) for name, value in tiny_net.state_dict().items())


def test_features_are_those_that_the_heads_see(photos, tiny_net):
    net, protocol = tiny_net.attribute_net.eval(), CropProtocol(64, 64)
    shared = torch.from_numpy(backbone_features(net, photos, protocol, crops=1)).float()
    heads = head_features(net, photos, protocol, crops=1)
    with torch.no_grad():
        expected = torch.cat([hidden(shared) for hidden in net.hidden], dim=2)
    assert heads.ravel() == pytest.approx(expected.numpy().ravel(), abs=1e-5)


def test_features_of_each_crop(photos, tiny_net):
    net, protocol = tiny_net.attribute_net, CropProtocol(64, 48)
    five = backbone_features(net, photos[:3], protocol)
    assert five.shape == (3, 5, net.width)
    centre = backbone_features(net, photos[:3], protocol, crops=1)
    assert five[:, 4:] == pytest.approx(centre, abs=1e-5)  # the centre is the last one
