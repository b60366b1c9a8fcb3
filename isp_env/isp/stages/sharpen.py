"""Sharpening: an unsharp mask on luma, without halos."""

from jaxtyping import Float

from isp_env.arrays import Array, namespace
from isp_env.color.rgb import Planes, luminance
from isp_env.isp.guide import Guide, Maps, gaussian_blur
from isp_env.isp.parameters import Parameter
from isp_env.isp.stage import Constants, Stage, Values

SIGMA = 0.0025  # of the long side

MAPS = ("sharpen base",)


def measure(guide: Guide, noise: Float[Array, "b 3 2"], values: Values) -> Maps:
    """Blur luma.

    Args:
        guide: Encoded.
        noise: Not used.
        values: Not used.
    """
    luma = luminance(guide.planes)[:, None]
    return {"sharpen base": gaussian_blur(luma, SIGMA * guide.long_side)[:, 0]}


def apply(encoded: Planes, maps: Maps, k: Constants) -> Planes:
    """Add a share of the difference from the blurred luma, limited to a tenth of that share.

    The limit keeps edges from halos.

    Args:
        encoded: Encoded RGB.
        maps: Of `measure`.
        k: "sharpen": 0 leaves the picture as it is; 1 adds the whole difference.
    """
    detail = luminance(encoded) - maps["sharpen base"]
    change = k["sharpen"] * (detail / namespace(detail).sqrt(1 + 100 * detail * detail))
    return tuple(x + change for x in encoded)


SHARPEN = Stage(
    "sharpen",
    (Parameter("sharpen", "", 0.0, 0.3, 1.5, help="amount of unsharp mask on luma"),),
    apply,
    MAPS,
    measure,
    in_numpy=True,
    idle_at=(0.0,),
)
