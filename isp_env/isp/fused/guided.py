"""Guides and previews rendered by the loop of full frames, and the maps measured on the way.

A stage that looks at neighbours has to see what the stages before it made. The loop does some of
its stages at a time: those between two such looks.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from isp_env.arrays import Array, namespace, to_numpy
from isp_env.color.rgb import Planes
from isp_env.compiled.strips import CHUNK
from isp_env.isp.fused.loops import FusedLoop, numbers
from isp_env.isp.guide import Guide, Maps
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.stage import Constants, Values


def measure(
    pipeline: IspPipeline,
    loop: FusedLoop,
    guide: Guide,
    noise: Float[Array, "b 3 2"],
    values: Values,
) -> tuple[Guide, Maps, Bool[np.ndarray, "b s"], Constants]:
    """Measure maps as `IspPipeline.measure` does, by the loop; maps that no picture needs are not.

    Returns:
        The guide as the last stage with maps saw it, the maps, the stages that are still to be
        done, and the constants of all stages.
    """
    constants, maps = pipeline.constants(values), dict[str, Array]()
    active = pipeline.active(values)
    pending = np.zeros_like(active)
    for index, stage in enumerate(pipeline.stages):
        if stage.maps and active[:, index].any():
            guide = replace(guide, planes=render(pipeline, loop, guide, maps, constants, pending))
            maps.update(stage.measure(guide, noise, values))
            pending[:] = False
        pending[:, index] = active[:, index]
    return guide, maps, pending, constants


def render(
    pipeline: IspPipeline,
    loop: FusedLoop,
    guide: Guide,
    maps: Maps,
    constants: Constants,
    active: Bool[np.ndarray, "b s"],
) -> Planes:
    """Apply some stages to each picture of a batch.

    Args:
        pipeline: The stages.
        loop: The same, compiled.
        guide: Its planes are the pictures.
        maps: All that these stages need.
        constants: Of all stages.
        active: Which stages.

    Returns:
        Planes of the library of the guide's.
    """
    if not active.any():
        return guide.planes
    stages = [pipeline.stages[index] for index in np.flatnonzero(active.any(0))]
    names = IspPipeline(tuple(stages)).maps
    planes = [to_numpy(plane) for plane in (*guide.planes, *(maps[name] for name in names))]
    places = columns(pipeline, names, planes=3)
    count, height, width = planes[0].shape
    out = np.empty((count, 3, height * width), np.float32)
    room = np.zeros((1, loop.columns * CHUNK), np.float32)
    for picture, own in enumerate(numbers(pipeline, constants)):
        inputs = np.stack([plane[picture].reshape(-1) for plane in planes])
        loop.run(inputs, places, own, active[picture], room, out[picture])
    found = np.ascontiguousarray(out.swapaxes(0, 1)).reshape(3, count, height, width)
    xp = namespace(guide.planes[0])
    return tuple(found) if xp is np else xp.from_numpy(found).unbind()


def columns(pipeline: IspPipeline, names: Sequence[str], planes: int = 0) -> np.ndarray:
    """Return the columns of a loop that hold some maps, after those of the first planes."""
    of_maps = [3 + pipeline.maps.index(name) for name in names]
    return np.array([*range(planes), *of_maps], np.int64)
