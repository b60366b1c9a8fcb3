"""The tunable ISP: scene-linear RGB and theta in, a display-ready photograph out.

A pipeline is a list of stages; each declares its own knobs, so that adding a stage adds its knobs
to theta and to the action space of the environment. Everything is differentiable and batched, with
one theta for each image, and a render is always made anew from the linear picture.

A stage is elementwise, given small maps of the surroundings that it may measure on a guide, a small
version of the picture (`guide`). So a full frame can be rendered row by row, and as one fused loop
(`fused.tracing`), with the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from isp_env.arrays import Array, constant
from isp_env.color.rgb import Planes
from isp_env.isp.guide import Guide, Maps, guide_factor
from isp_env.isp.parameters import Parameter, to_values
from isp_env.isp.stage import Constants, Stage, Values


@dataclass(frozen=True)
class IspPipeline:
    """An ordered list of stages from scene-linear Rec. 709 to an encoded photograph.

    Attributes:
        stages: The steps, in order.
        knobs: Names of the parameters that theta moves, in the order of theta; the others stay
            neutral. None stands for all, in the order of the stages.

    Raises:
        ValueError: Two knobs or two maps have one name.
    """

    stages: tuple[Stage, ...]
    knobs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for kind, names in (
            ("knob", [p.name for stage in self.stages for p in stage.parameters]),
            ("map", [name for stage in self.stages for name in stage.maps]),
            ("knob", self.knobs or ()),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"two {kind}s are called {twice[0]!r}: names are unique")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every knob; `parameters[i]` is moved by `theta[:, i]`."""
        all_of_them = {p.name: p for stage in self.stages for p in stage.parameters}
        return tuple(all_of_them[name] for name in self.knobs or all_of_them)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of all maps that the stages measure."""
        return tuple(name for stage in self.stages for name in stage.maps)

    @property
    def in_numpy(self) -> bool:
        """Whether all stages take numpy arrays as well as tensors."""
        return all(stage.in_numpy for stage in self.stages)

    def active(self, values: Values) -> Bool[np.ndarray, "b s"]:
        """Tell which stages change pictures at these values of their knobs."""
        columns = [stage.is_active(values) for stage in self.stages]
        return np.ascontiguousarray(np.stack(columns, axis=1))

    def only(self, knobs: Sequence[str]) -> "IspPipeline":
        """Return the same pipeline with fewer knobs, in the order of `knobs`.

        Raises:
            ValueError: The pipeline does not have one of them.
        """
        known = [p.name for p in self.parameters]
        if unknown := sorted(set(knobs) - set(known)):
            raise ValueError(f"unknown parameter {', '.join(unknown)}; known: {', '.join(known)}")
        return replace(self, knobs=tuple(knobs))

    def knobs_named(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return names of the knobs that are called by their own names or by those of their stages.

        Args:
            words: "white-balance", "local_contrast" and "Local Contrast" all name what they seem
                to; a stage stands for all its knobs.

        Returns:
            Each knob once, in the order of `parameters`.

        Raises:
            ValueError: A word that names neither a knob nor a stage.
        """
        own = {_spaced(p.name): {p.name} for p in self.parameters}
        known = own | {
            _spaced(s.name): {p.name for p in s.parameters} for s in self.stages if s.parameters
        }
        if unknown := [word for word in words if _spaced(word) not in known]:
            names = ", ".join(name.replace(" ", "-") for name in known)
            raise ValueError(f"unknown knob {', '.join(unknown)}; known: {names}")
        named = set[str]().union(*(known[_spaced(word)] for word in words))
        return tuple(p.name for p in self.parameters if p.name in named)

    def neutral(self, batch: int = 1) -> Float[Array, "b d"]:
        """Return theta of the neutral rendering: a tensor of zeros."""
        import torch  # slow to import: rendering does without

        return torch.zeros(batch, len(self.parameters))

    def values(self, theta: Float[Array, "b d"]) -> Values:
        """Return physical values of all parameters of the stages, those without a knob included."""
        moved = to_values(self.parameters, theta)
        fixed = {
            p.name: constant([p.neutral] * len(theta), theta)
            for stage in self.stages
            for p in stage.parameters
            if p.name not in moved
        }
        return moved | fixed

    def __call__(
        self,
        linear: Float[Array, "b 3 h w"],
        theta: Float[Array, "b d"],
        noise: Float[Array, "b 3 2"] | None = None,
        guide: Guide | None = None,
    ) -> Float[Array, "b 3 h w"]:
        """Render tensors.

        Args:
            linear: Scene-linear Rec. 709, white-balanced as shot, 1.0 = sensor white.
            theta: One row for each image, in [-1, 1].
            noise: Shot and read noise per channel at this resolution (`develop.reference.develop`);
                None means noise-free, which leaves nothing to denoise.
            guide: A small version of `linear`, reduced by `guide.guide_factor`; made from it if
                None.

        Returns:
            Encoded RGB in [0, 1].
        """
        import torch  # slow to import: rendering files does without

        from isp_env.isp.resampling import enlarge, reduce

        noise = linear.new_zeros(len(linear), 3, 2) if noise is None else noise
        values = self.values(theta)
        height, width = linear.shape[-2:]
        factor = guide_factor(max(height, width))
        guide = reduce(linear, factor) if guide is None else guide
        planes, maps = self.measure(guide, noise, values)
        if factor > 1:
            large = {n: enlarge(m, factor, (height, width)) for n, m in maps.items()}
            planes = self.apply(linear.unbind(1), large, self.constants(values))
        return torch.stack(planes, dim=1).clamp(0, 1)

    def measure(
        self, guide: Guide, noise: Float[Array, "b 3 2"], values: Values
    ) -> tuple[Planes, Maps]:
        """Render the guide, and gather the maps that the stages measure on the way."""
        constants, maps = self.constants(values), dict[str, Array]()
        for stage in self.stages:
            maps.update(stage.measure(guide, noise, values))
            guide = replace(guide, planes=stage.apply(guide.planes, maps, constants))
        return guide.planes, maps

    def apply(self, planes: Planes, maps: Maps, constants: Constants) -> Planes:
        """Return the elementwise part of all stages; may leave [0, 1] a little."""
        for stage in self.stages:
            planes = stage.apply(planes, maps, constants)
        return planes

    def constants(self, values: Values) -> Constants:
        """Return the numbers that `apply` needs beside the maps, one a picture, (B, 1, 1)."""
        derived = {name: v for stage in self.stages for name, v in stage.prepare(values).items()}
        return {name: v[:, None, None] for name, v in {**values, **derived}.items()}


def _spaced(name: str) -> str:
    return name.lower().replace("-", " ").replace("_", " ").strip()
