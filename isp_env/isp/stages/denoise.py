"""Noise reduction in scene-linear light, by the noise profile of the shot.

Sources: Lee, Digital image enhancement and noise filtering by use of local statistics (TPAMI 1980);
He, Sun and Tang, Guided image filtering (ECCV 2010).
"""

from jaxtyping import Float

from isp_env.arrays import Array, constant, namespace
from isp_env.color.rgb import REC709_LUMINANCE, Planes
from isp_env.isp.guide import Guide, Maps, box_mean, opponents, window
from isp_env.isp.parameters import Parameter
from isp_env.isp.stage import Constants, Stage, Values

RADIUS = 0.006  # of the long side
CHROMA_STRENGTH = 4.0  # chroma noise is blotchy and carries little detail: smooth it more

MAPS = tuple(f"denoise {what} {of}" for what in ("gain", "offset") for of in ("y", "r", "b"))


def measure(guide: Guide, noise: Float[Array, "b 3 2"], values: Values) -> Maps:
    """Find where there is signal above the noise profile, luma and chroma apart.

    Lee's (1980) filter: out = mean + gain (x - mean), where gain = signal / (signal + c noise) and
    signal = max(var - noise, 0), so that flat areas become their mean, and texture above the noise
    stays. It works at two scales. Within a pixel of the guide, the variance is that of the pixels
    that went into it. Their mean has noise, too, though much less: that is removed from the guide
    in windows (a self-guided filter, He et al. 2010). So faint colours survive where they are wider
    than a pixel of the guide, and edges do not bleed further. Zero strength or a noise-free input
    gives gains of 1 and offsets of 0.

    Args:
        guide: In scene-linear light, as shot.
        noise: Shot and read terms per channel: variance = shot x + read, of one pixel.
        values: "denoise", 0..1; 0.25 takes the noise profile at its word, 1 takes it four times.
    """
    xp = namespace(noise)
    planes = xp.stack(opponents(guide.planes), axis=1)
    shot, read = noise[:, :, 0, None, None], noise[:, :, 1, None, None]
    variance = shot * xp.clip(planes[:, :1], 0, None) + read
    weights = constant(REC709_LUMINANCE, variance)[:, None, None]
    luma_variance = (weights**2 * variance).sum(1)[:, None]
    fine_noise = xp.concat([luma_variance, variance[:, ::2] + luma_variance], axis=1)
    fine_noise = 4 * values["denoise"][:, None, None, None] * fine_noise
    cost = constant([1.0, CHROMA_STRENGTH, CHROMA_STRENGTH], planes)[:, None, None]

    def gain_of(variance: Array, noise: Array) -> Array:
        signal = xp.clip(variance - noise, 0, None) + 1e-10
        return signal / (signal + cost * noise)

    side = window(RADIUS * guide.long_side)
    mean, square = box_mean(planes, side), box_mean(planes * planes, side)
    coarse = gain_of(square - mean * mean, fine_noise / guide.averaged)
    gain, offset = box_mean(coarse, side), box_mean((1 - coarse) * mean, side)
    if guide.averaged > 1:
        smooth = gain * planes + offset
        gain = gain_of(guide.variance, fine_noise)
        offset = (1 - gain) * smooth
    maps = [each[:, channel] for each in (gain, offset) for channel in range(3)]
    return dict(zip(MAPS, maps, strict=True))


def apply(linear: Planes, maps: Maps, k: Constants) -> Planes:
    """Reduce noise and keep edges, with the maps of `measure`."""
    gain, offset = (
        [maps[f"denoise {what} {of}"] for of in ("y", "r", "b")] for what in ("gain", "offset")
    )
    y, red_minus, blue_minus = (
        g * x + o for g, x, o in zip(gain, opponents(linear), offset, strict=True)
    )
    red, green, blue = REC709_LUMINANCE
    green_minus = -(red / green) * red_minus - (blue / green) * blue_minus  # luma of chroma is 0
    return y + red_minus, y + green_minus, y + blue_minus


DENOISE = Stage(
    "denoise",
    (Parameter("denoise", "", 0.0, 0.25, 1.0, help="strength against the noise"),),
    apply,
    MAPS,
    measure,
    in_numpy=True,
    idle_at=(0.0,),
)
