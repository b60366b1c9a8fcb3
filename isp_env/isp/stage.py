"""A stage of the ISP: its knobs, its arithmetic on pixels, and what it measures around them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from isp_env.arrays import Array, to_numpy
from isp_env.color.rgb import Planes
from isp_env.isp.guide import Guide, Maps
from isp_env.isp.parameters import Parameter

Values = Mapping[str, Float[Array, " b"]]
"""Physical values of knobs by name, one for each picture."""

Constants = Mapping[str, Array]
"""Numbers that a stage calculates with, (B, 1, 1) each."""


def _no_maps(guide: Guide, noise: Float[Array, "b 3 2"], values: Values) -> Maps:
    return {}


def _nothing_to_prepare(values: Values) -> Values:
    return {}


@dataclass(frozen=True)
class Stage:
    """One step of the ISP.

    Attributes:
        name: What it does, in the field's word.
        parameters: Its knobs.
        apply: (planes, maps, constants) -> planes; elementwise. The constants are the physical
            values of the knobs and what `prepare` adds, shaped to broadcast over the planes.
        maps: Names of the maps that it measures.
        measure: (guide, noise (B, 3, 2), values) -> those maps, at the size of the guide.
        prepare: Further constants that follow from the values, one number for each picture.
        in_numpy: All of it takes numpy arrays as well as tensors (`arrays`). Pipelines of such
            stages render files without importing torch.
        idle_at: Values of the knobs, in their order, at which `apply` leaves pictures as they are:
            files are rendered without the stage then. () where there are none.

    Raises:
        ValueError: `idle_at` has another length than `parameters`.
    """

    name: str
    parameters: tuple[Parameter, ...]
    apply: Callable[[Planes, Maps, Constants], Planes]
    maps: tuple[str, ...] = ()
    measure: Callable[[Guide, Float[Array, "b 3 2"], Values], Maps] = _no_maps
    prepare: Callable[[Values], Values] = _nothing_to_prepare
    in_numpy: bool = False
    idle_at: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.idle_at) not in (0, len(self.parameters)):
            raise ValueError(
                f"{self.name}: idle at {self.idle_at}; expected {len(self.parameters)} values"
            )

    def is_active(self, values: Values) -> Bool[np.ndarray, " b"]:
        """Tell which pictures it may change."""
        first, *_ = values.values()
        idle = np.full(len(first), bool(self.idle_at))
        for parameter, value in zip(self.parameters, self.idle_at, strict=bool(self.idle_at)):
            idle &= to_numpy(values[parameter.name]) == np.float32(value)
        return ~idle
