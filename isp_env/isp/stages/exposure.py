"""Exposure: a gain in scene-linear light, in EV."""

from isp_env.arrays import namespace
from isp_env.color.rgb import Planes
from isp_env.isp.guide import Maps
from isp_env.isp.parameters import Parameter
from isp_env.isp.stage import Constants, Stage, Values


def prepare(values: Values) -> Values:
    """Compute the gain, 2^EV."""
    exposure = values["exposure"]
    return {"gain": namespace(exposure).exp2(exposure)}


def apply(linear: Planes, maps: Maps, k: Constants) -> Planes:
    """Multiply by the gain."""
    return tuple(x * k["gain"] for x in linear)


EXPOSURE = Stage(
    "exposure",
    (Parameter("exposure", "EV", -2.0, 0.0, 2.0, help="gain in scene-linear light"),),
    apply,
    prepare=prepare,
    in_numpy=True,
    idle_at=(0.0,),
)
