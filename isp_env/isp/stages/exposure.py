"""Exposure: a gain in scene-linear light, in EV."""

import torch

from isp_env.color.rgb import Planes
from isp_env.isp.guide import Maps
from isp_env.isp.parameters import Parameter
from isp_env.isp.stage import Constants, Stage, Values


def prepare(values: Values) -> Values:
    """Compute the gain, 2^EV."""
    return {"gain": torch.exp2(values["exposure"])}


def apply(linear: Planes, maps: Maps, k: Constants) -> Planes:
    """Multiply by the gain."""
    return tuple(x * k["gain"] for x in linear)


EXPOSURE = Stage(
    "exposure",
    (Parameter("exposure", "EV", -2.0, 0.0, 2.0, help="gain in scene-linear light"),),
    apply,
    prepare=prepare,
)
