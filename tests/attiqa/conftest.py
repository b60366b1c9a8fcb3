"""Small photographs and networks that every test of this folder may use."""

import struct

import numpy as np
import pytest
import torch
from PIL import ImageCms
from skimage import data as samples

from attiqa.model.architecture import Architecture
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.teachers.teacher import MeasuredTeacher

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


def with_identity_curves(profile: bytes, names: tuple[bytes, ...]) -> bytes:
    """Replace tone curves of a profile by the identity (ICC `curv`, count 0)."""
    changed = bytearray(profile)
    (count,) = struct.unpack_from(">I", changed, 128)
    for entry in range(count):
        name, offset, _ = struct.unpack_from(">4sII", changed, 132 + 12 * entry)
        if name in names:
            changed[offset : offset + 12] = b"curv" + bytes(8)
            struct.pack_into(">I", changed, 140 + 12 * entry, 12)
    return bytes(changed)


@pytest.fixture(scope="session")
def linear_profile() -> bytes:
    """The primaries of sRGB, linear; its description still begins with sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return with_identity_curves(profile, (b"rTRC", b"gTRC", b"bTRC"))


@pytest.fixture(scope="session")
def linear_grey_profile() -> bytes:
    """A grey profile of identity curve, written by hand (ICC.1:2022, 7.2 and 8.4.3)."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv" + bytes(8)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(79)
    copyright_ = b"text" + bytes(4) + b"none\0\0\0\0"
    offset, table, body = 128 + 4 + 4 * 12, b"", b""
    for name, tag in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text), (b"cprt", copyright_)):
        tag += bytes(-len(tag) % 4)
        table += struct.pack(">4sII", name, offset + len(body), len(tag))
        body += tag
    head = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", 4) + table + body
