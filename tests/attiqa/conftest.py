"""Small photographs and networks that every test of this folder may use."""

import numpy as np
import pytest
import torch
from skimage import data as samples

from attiqa.models import Architecture, AttributeNet, QualityNet
from attiqa.teachers import MeasuredTeacher

torch.set_num_threads(1)  # tensors are small here: a second thread costs more than it brings

CLEAN = ("astronaut", "coffee", "chelsea", "rocket")


def photograph(name: str, side: int = 224) -> torch.Tensor:
    """A clean photograph of scikit-image: its top left part, resized; (3, side, side) in [0, 1]."""
    pixels = torch.from_numpy(getattr(samples, name)()).permute(2, 0, 1)[None].float() / 255
    square = min(pixels.shape[2:])
    return torch.nn.functional.interpolate(
        pixels[..., :square, :square], (side, side), mode="bicubic", antialias=True
    )[0].clamp(0, 1)


@pytest.fixture(scope="session")
def clean() -> torch.Tensor:
    return torch.stack([photograph(name) for name in CLEAN])


@pytest.fixture(scope="session")
def small() -> torch.Tensor:
    return torch.stack([photograph(name, 96) for name in CLEAN])


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    return samples.astronaut()


@pytest.fixture(scope="session")
def photos(small) -> list[np.ndarray]:
    """Twelve for trainings: as they are, upside down, darkened."""
    pixels = (small * 255).byte().permute(0, 2, 3, 1).numpy()
    return [np.ascontiguousarray(view) for p in pixels for view in (p, p[::-1], p // 2)]


@pytest.fixture(scope="session")
def mos() -> np.ndarray:
    """Scores of `photos`."""
    return np.tile([0.9, 0.8, 0.2], 4)


@pytest.fixture
def tiny() -> Architecture:
    return Architecture("test_efficientnet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 8, 8)


@pytest.fixture
def tiny_net(tiny: Architecture) -> QualityNet:
    torch.manual_seed(0)
    return QualityNet(AttributeNet(tiny))


class InterruptedTeacher(MeasuredTeacher):
    """Interrupts the run when it is asked for the `last`-th time."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().__call__(images)


@pytest.fixture
def interrupted_teacher() -> type[InterruptedTeacher]:
    return InterruptedTeacher
