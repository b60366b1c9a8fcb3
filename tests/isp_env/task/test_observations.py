"""What is seen of a picture and of the light, by numpy."""

import numpy as np
import pytest
import torch

from isp_env.task.observations import (
    CAPTURE,
    LINEAR,
    QUANTILES,
    capture_vector,
    glance,
    observation_space,
    observe,
    see_linear,
    squeezed,
)


@pytest.fixture
def light() -> torch.Tensor:
    """Scene-linear pictures, below black and above the sensor's white too."""
    return torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1


def logarithm(light: np.ndarray) -> np.ndarray:
    return np.clip(np.log2(np.maximum(light, 0) + 1 / 1024) / 5 + 1, -1, 1)


def test_the_light_is_seen_as_quantiles_and_a_thumbnail(light):
    seen = see_linear(light).numpy()
    assert seen.shape == (2, LINEAR) == (2, 3 * 9 + 3 * 64)
    for row, picture in enumerate(light.numpy()):
        quantiles = np.stack([np.quantile(channel, QUANTILES) for channel in picture])
        areas = picture.reshape(3, 8, 3, 8, 4).mean((2, 4))
        expected = np.concatenate([quantiles.ravel(), areas.ravel()])
        assert seen[row] == pytest.approx(logarithm(expected), abs=1e-4)


def test_black_and_the_sensors_white_are_the_ends_of_what_is_seen():
    black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert see_linear(black).tolist() == [[-1.0] * LINEAR]
    assert see_linear(white).tolist() == [[1.0] * LINEAR]
    stop = see_linear(white / 4) - see_linear(white / 8)
    assert stop.numpy() == pytest.approx(1 / 5, abs=2e-3)  # a fifth for each stop


def test_pictures_are_squeezed_to_a_square_and_are_finite():
    picture = torch.full((1, 3, 40, 60), 0.25)
    picture[..., 30:] = 0.75
    small = squeezed(picture, 20)
    assert small.shape == (1, 3, 20, 20)
    assert small[..., :8].numpy() == pytest.approx(0.25, abs=1e-5)
    assert small[..., 12:].numpy() == pytest.approx(0.75, abs=1e-5)
    assert squeezed(torch.full((1, 3, 20, 20), float("nan")), 20).abs().max() == 0


def test_the_capture_is_in_stops():
    seen = capture_vector(
        np.array([800.0, 3200.0, 0.0, np.nan]),
        np.array([[1.0, 1.0, 1.0], [0.5, 1.0, 0.7], [2.0, 1.0, 1.0], [1.0, 1.0, 1e-3]]),
    )
    gains = [0.5, -np.log2(0.7) / 2]
    expected = [[0, 0, 0], [0.5, *gains], [0, -0.5, 0], [0, 0, 1]]
    assert seen.numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_an_observation_says_what_it_is_said_to_in_its_order(light):
    now, neutral = glance(light.clamp(0, 1)), glance(light.clamp(0, 1).flip(0))
    theta, anchor = torch.full((2, 4), 0.1), torch.full((2, 4), -0.2)
    row = torch.tensor([0.5, float("nan")])
    seen = observe(
        now,
        neutral,
        see_linear(light),
        theta,
        row,
        anchor,
        torch.full((2, 5), 2.0),
        torch.full((2,), 4.0),
        torch.full((2,), -1.0),
        torch.tensor([[0.3, 0.4, 0.5]]).expand(2, -1),
        torch.zeros(2, 0),
    )
    space = observation_space(4, 5)
    assert set(seen) == {"image", "linear", "vector"}
    for key, value in seen.items():
        assert all(space[key].contains(one) for one in value)
    vector = seen["vector"]
    assert vector[:, :4] == pytest.approx(0.1)
    assert vector[:, 4].tolist() == [0.5, 0.0]  # what is no number is 0
    assert vector[:, 5:9] == pytest.approx(-0.2)
    told = vector[0, -(5 + 2 + CAPTURE) :]
    assert told == pytest.approx([*[np.tanh(1)] * 5, np.tanh(1), np.tanh(-1), 0.3, 0.4, 0.5])
    assert np.array_equal(seen["image"][:, :3], seen["image"][::-1, 3:])
    features = observation_space(4, 5, 7)
    assert features["features"].shape == (7,)
