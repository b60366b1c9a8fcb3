"""Scene-linear pictures in memory, as numpy arrays or as tensors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from isp_env.arrays import Array, namespace
from isp_env.raw import RawImage


@dataclass(frozen=True)
class LinearImage:
    """A scene-linear picture and what is known of its noise.

    Attributes:
        rgb: (3, H, W) float32, linear Rec. 709, white-balanced as shot, 1.0 = sensor white.
        noise: (3, 2) shot and read terms: variance of channel c = noise[c, 0] x + noise[c, 1].
    """

    rgb: Float[Array, "3 h w"]
    noise: Float[Array, "3 2"]

    def in_torch(self) -> "LinearImage":
        """Return the same picture as tensors."""
        import torch  # slow to import: rendering does without

        return LinearImage(*(torch.as_tensor(array) for array in (self.rgb, self.noise)))


def crop(image: Float[Array, "c h w"], raw: RawImage, block: int = 1) -> Float[Array, "c h2 w2"]:
    """Return the part of the active area that the camera shows, of a picture reduced by `block`."""
    top, left, bottom, right = (round(edge / block) for edge in raw.crop)
    return image[:, top : max(bottom, top + 1), left : max(right, left + 1)]


def upright(image: Num[Array, "c h w"], orientation: int) -> Num[Array, "c h2 w2"]:
    """Undo an EXIF orientation 1..8 (tag 274)."""
    xp = namespace(image)
    if orientation in (5, 6, 7, 8):
        image = xp.swapaxes(image, -2, -1)
    if orientation in (2, 3, 6, 7):
        image = xp.flip(image, (-1,))
    if orientation in (3, 4, 7, 8):
        image = xp.flip(image, (-2,))
    return np.ascontiguousarray(image) if xp is np else image.contiguous()
