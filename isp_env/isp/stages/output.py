"""Output: colours brought into the gamut of the output space, and its transfer function."""

from collections.abc import Sequence
from functools import partial

from isp_env.arrays import namespace
from isp_env.color.output_spaces import SRGB, OutputSpace
from isp_env.color.rgb import REC709_LUMINANCE, Planes, luminance, mix
from isp_env.isp.guide import Maps
from isp_env.isp.stage import Constants, Stage


def apply(linear: Planes, maps: Maps, k: Constants, *, space: OutputSpace) -> Planes:
    """Bring the colours into the gamut of `space` and encode them."""
    if space is not SRGB:
        linear = mix(linear, space.from_rec709.ravel().tolist())
    return tuple(space.encode(x) for x in compress_gamut(linear, space.luminance))


def compress_gamut(linear: Planes, weight: Sequence[float] = REC709_LUMINANCE) -> Planes:
    """Bring display-linear RGB into [0, 1] by moving each colour towards the grey of its luminance.

    Clipping single channels would turn hues; this keeps hue and luminance and gives up chroma.
    Luminance outside [0, 1] becomes black or white; colours inside the gamut stay as they are.

    Args:
        linear: RGB of any primaries.
        weight: Of red, green and blue in the luminance.
    """
    xp = namespace(linear[0])
    grey = xp.clip(luminance(linear, weight), 0, 1)
    offsets = [x - grey for x in linear]
    room = [xp.where(offset > 0, 1 - grey, grey) for offset in offsets]
    over = [xp.abs(x) / xp.clip(y, 1e-4, None) for x, y in zip(offsets, room, strict=True)]
    most = xp.clip(xp.maximum(xp.maximum(over[0], over[1]), over[2]), 1, None)
    return tuple(xp.clip(grey + offset / most, 0, 1) for offset in offsets)


def output(space: OutputSpace) -> Stage:
    """Build the stage for an output space; it has no knobs."""
    return Stage("output", (), partial(apply, space=space), in_numpy=True)
