"""Local contrast: luma against its surroundings, edges left alone (He, Sun and Tang 2010)."""

from jaxtyping import Float

from isp_env.arrays import Array, namespace
from isp_env.color.rgb import Planes, luminance
from isp_env.isp.guide import Guide, Maps, box_mean, window
from isp_env.isp.parameters import Parameter
from isp_env.isp.stage import Constants, Stage, Values

RADIUS = 0.03  # of the long side
EDGE = 0.1  # encoded luma: steps well beyond are edges, which local contrast leaves alone

MAPS = ("local slope", "local offset")


def measure(guide: Guide, noise: Float[Array, "b 3 2"], values: Values) -> Maps:
    """Map the surroundings as slope x luma + offset: a self-guided filter, which keeps edges.

    Args:
        guide: Encoded.
        noise: Not used.
        values: Not used.
    """
    luma = luminance(guide.planes)[:, None]
    xp = namespace(luma)
    side = window(RADIUS * guide.long_side)
    mean = box_mean(luma, side)
    variance = xp.clip(box_mean(luma * luma, side) - mean * mean, 0, None)
    slope = variance / (variance + EDGE**2)
    maps = box_mean(slope, side), box_mean((1 - slope) * mean, side)
    return dict(zip(MAPS, (m[:, 0] for m in maps), strict=True))


def apply(encoded: Planes, maps: Maps, k: Constants) -> Planes:
    """Push luma away from (local_contrast > 0) or towards its surroundings; black, white stay."""
    luma = luminance(encoded)
    surroundings = maps["local slope"] * luma + maps["local offset"]
    inside = namespace(luma).clip(luma, 0, 1)
    change = k["local_contrast"] * (4 * inside * (1 - inside)) * (luma - surroundings)
    return tuple(x + change for x in encoded)


LOCAL_CONTRAST = Stage(
    "local contrast",
    (Parameter("local_contrast", "", -0.5, 0.0, 1.0, help="of areas; edges stay"),),
    apply,
    MAPS,
    measure,
    in_numpy=True,
    idle_at=(0.0,),
)
