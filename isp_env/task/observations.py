"""What the agent sees: two small pictures, the scene-linear light, and a vector of statistics."""

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

IMAGE_SIDE = 128
THUMBNAIL = 8
QUANTILES = (0.002, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.998)
LINEAR = 3 * (len(QUANTILES) + THUMBNAIL**2)
CAPTURE = 3
STATISTICS_SIDE = 64
LUMA_BINS = 16
CHROMA_BINS = 8
STATISTICS = LUMA_BINS + 2 * CHROMA_BINS + 3 + 2


class Glance(NamedTuple):
    """What is seen of a picture; one row per picture."""

    picture: UInt8[Tensor, "b 3 128 128"]  # squeezed to a square
    statistics: Float[Tensor, "b s"]
    brightness: Float[Tensor, " b"]  # mean of all samples; not finite where one of them is not


def observation_space(
    knobs: int, attributes: int, features: int = 0, pictures: bool = True
) -> spaces.Dict:
    """Return the space of one observation.

    | key | shape | content |
    |---|---|---|
    | image | (6, 128, 128) uint8 | rendering now, then neutral, made square; only with `pictures` |
    | linear | (219,) float32 in [-1, 1] | the scene-linear preview, see `see_linear` |
    | vector | (n,) float32 in [-1, 1] | see `observe` |
    | features | (f,) float32 in [-1, 1] | what the judge saw; only where it says so (f > 0) |
    """
    length = 2 * knobs + 1 + STATISTICS + attributes + 2 + CAPTURE
    keys: dict[str, spaces.Space] = {
        "image": spaces.Box(0, 255, (6, IMAGE_SIDE, IMAGE_SIDE), np.uint8),
        "linear": spaces.Box(-1.0, 1.0, (LINEAR,), np.float32),
        "vector": spaces.Box(-1.0, 1.0, (length,), np.float32),
    }
    if not pictures:
        del keys["image"]
    if features:
        keys["features"] = spaces.Box(-1.0, 1.0, (features,), np.float32)
    return spaces.Dict(keys)


def glance(images: Float[Tensor, "b 3 h w"]) -> Glance:
    """Look at display RGB.

    The statistics are, in this order: histogram of luma; histograms of the colour differences R - Y
    and B - Y over [-0.5, 0.5]; mean R, G, B; shares of samples below 0.02 and above 0.98.
    """
    small = squeezed(images, STATISTICS_SIDE)
    red, green, blue = small.flatten(2).unbind(1)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    statistics = [
        _histogram(luma, LUMA_BINS),
        _histogram(red - luma + 0.5, CHROMA_BINS),
        _histogram(blue - luma + 0.5, CHROMA_BINS),
        small.mean((2, 3)),
        (small < 0.02).float().mean((1, 2, 3))[:, None],
        (small > 0.98).float().mean((1, 2, 3))[:, None],
    ]
    picture = (squeezed(images, IMAGE_SIDE) * 255).round().byte()
    return Glance(picture, torch.cat(statistics, dim=1), images.mean((1, 2, 3)))


def squeezed(images: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 s s"]:
    """Display RGB at side x side pixels, in [0, 1]; what is not a number is 0."""
    size = (side, side)
    if tuple(images.shape[2:]) != size:
        images = functional.interpolate(
            images, size, mode="bilinear", antialias=True, align_corners=False
        )
    return images.nan_to_num(0.0).clamp(0, 1)


def see_linear(linear: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n"]:
    """Look at scene-linear pictures: what a rendering may have clipped is still there.

    `QUANTILES` of red, of green and of blue, then the means over 8 x 8 areas, channel by channel;
    light x as log2(x + 1/1024) / 5 + 1, clamped to [-1, 1]: 1 is the sensor's white.
    """
    pixels = linear.flatten(2)
    shares = torch.quantile(pixels, pixels.new_tensor(QUANTILES), dim=2)  # (q, b, 3)
    areas = functional.adaptive_avg_pool2d(linear, THUMBNAIL)
    seen = torch.cat([shares.permute(1, 2, 0).flatten(1), areas.flatten(1)], dim=1)
    return ((seen.clamp(min=0) + 2**-10).log2() / 5 + 1).clamp(-1, 1)


def observe(
    now: Glance,
    neutral: Glance,
    linear: Float[Tensor, "b l"],
    theta: Float[Tensor, "b d"],
    progress: Float[Tensor, " b"],
    anchor: Float[Tensor, "b d"],
    attributes: Float[Tensor, "b k"],
    potential: Float[Tensor, " b"],
    gain: Float[Tensor, " b"],
    capture: Float[Tensor, "b 3"],
    features: Float[Tensor, "b f"],
    pictures: bool = True,
) -> dict[str, np.ndarray]:
    """Return observations of a batch.

    The vector holds, in this order: theta; steps done / horizon; the anchor's theta
    (`reward`); the statistics of `glance`; the attributes and the potential, squashed by tanh; the
    potential gained so far, squashed; `capture` (see `capture_vector`). The judge's features are
    squashed, too. What is not a number is 0. Without `pictures` there is no `image`.
    """
    vector = torch.cat(
        [
            theta,
            progress[:, None],
            anchor,
            now.statistics,
            torch.tanh(attributes / 2),
            torch.tanh(potential / 4)[:, None],
            torch.tanh(gain)[:, None],
            capture,
        ],
        dim=1,
    )
    observation = {
        "linear": linear.nan_to_num(0.0),
        "vector": vector.nan_to_num(0.0).clamp(-1, 1).float(),
    }
    if pictures:
        observation["image"] = torch.cat([now.picture, neutral.picture], dim=1)
    if features.shape[1]:
        observation["features"] = torch.tanh(features / 4).nan_to_num(0.0).float()
    return {key: value.detach().cpu().numpy() for key, value in observation.items()}


def capture_vector(iso: np.ndarray, as_shot_neutral: np.ndarray) -> Float[Tensor, "b 3"]:
    """Encode the camera's data of the shot: log ISO, and the logs of the red and blue gains.

    Unknown ISO is 0, as ISO 800.
    """
    known = np.where(np.asarray(iso) > 0, iso, np.nan)  # some files state 0
    speed = np.nan_to_num(np.log2(known / 800) / 4, nan=0.0)
    gains = -np.log2(np.asarray(as_shot_neutral)[:, ::2]) / 2
    return torch.from_numpy(np.column_stack([speed, gains]).astype(np.float32)).clamp(-1, 1)


def _histogram(values: Float[Tensor, "b n"], bins: int) -> Float[Tensor, "b bins"]:
    """Return shares of `values` in equal bins over [0, 1]; values outside count in the end bins."""
    index = (values * bins).long().clamp(0, bins - 1)
    share = torch.full_like(values, 1 / values.shape[1])
    return values.new_zeros(len(values), bins).scatter_add_(1, index, share)
