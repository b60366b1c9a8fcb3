"""The tunable ISP: scene-linear RGB and theta in, a display-ready photograph out.

A pipeline is a list of stages; each declares its own knobs, so that adding a stage adds its knobs
to theta and to the action space of the environment. Everything is differentiable and batched, with
one theta for each image, and a render is always made anew from the linear picture.

A stage is elementwise, given small maps of the surroundings that it may measure on a guide, a small
version of the picture (`detail`). So a full frame can be rendered row by row, and as one fused loop
(`fused.tracing`), with the same result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from isp_env.color import rgb
from isp_env.color.output_spaces import SRGB, OutputSpace
from isp_env.color.rgb import Planes
from isp_env.isp import detail, tone
from isp_env.isp.detail import Guide, Maps
from isp_env.isp.parameters import Parameter, to_values

Values = Mapping[str, Float[Tensor, " b"]]
Constants = Mapping[str, Tensor]


def _no_maps(guide: Guide, noise: Float[Tensor, "b 3 2"], values: Values) -> Maps:
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
    """

    name: str
    parameters: tuple[Parameter, ...]
    apply: Callable[[Planes, Maps, Constants], Planes]
    maps: tuple[str, ...] = ()
    measure: Callable[[Guide, Float[Tensor, "b 3 2"], Values], Maps] = _no_maps
    prepare: Callable[[Values], Values] = _nothing_to_prepare


@dataclass(frozen=True)
class IspPipeline:
    """An ordered list of stages from scene-linear Rec. 709 to an encoded photograph.

    Attributes:
        stages: The steps, in order.
        knobs: Names of the parameters that theta moves, in the order of theta; the others stay
            neutral. None stands for all, in the order of the stages.
    """

    stages: tuple[Stage, ...]
    knobs: tuple[str, ...] | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every knob; `parameters[i]` is moved by `theta[:, i]`."""
        all_of_them = {p.name: p for stage in self.stages for p in stage.parameters}
        return tuple(all_of_them[name] for name in self.knobs or all_of_them)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of all maps that the stages measure."""
        return tuple(name for stage in self.stages for name in stage.maps)

    def only(self, knobs: Sequence[str]) -> "IspPipeline":
        """The same pipeline with fewer knobs, in the order of `knobs`.

        Raises:
            ValueError: The pipeline does not have one of them.
        """
        known = [p.name for p in self.parameters]
        if unknown := sorted(set(knobs) - set(known)):
            raise ValueError(f"unknown parameter {', '.join(unknown)}; known: {', '.join(known)}")
        return replace(self, knobs=tuple(knobs))

    def knobs_named(self, words: Sequence[str]) -> tuple[str, ...]:
        """Names of the knobs that are called by their own names or by those of their stages.

        Args:
            words: "white-balance", "local_contrast" and "Local Contrast" all name what they seem
                to; a stage stands for all its knobs.

        Returns:
            Each knob once, in the order of `parameters`.

        Raises:
            ValueError: A word that names neither a knob nor a stage.
        """
        own = {_spaced(p.name): {p.name} for p in self.parameters}
        known = own | {_spaced(s.name): {p.name for p in s.parameters} for s in self.stages}
        if unknown := [word for word in words if _spaced(word) not in known]:
            names = ", ".join(name.replace(" ", "-") for name in known)
            raise ValueError(f"unknown knob {', '.join(unknown)}; known: {names}")
        named = set[str]().union(*(known[_spaced(word)] for word in words))
        return tuple(p.name for p in self.parameters if p.name in named)

    def neutral(self, batch: int = 1) -> Float[Tensor, "b d"]:
        """Theta of the neutral rendering: zeros."""
        return torch.zeros(batch, len(self.parameters))

    def values(self, theta: Float[Tensor, "b d"]) -> Values:
        """Physical values of all parameters of the stages, those without a knob included."""
        moved = to_values(self.parameters, theta)
        fixed = {
            p.name: theta.new_full((len(theta),), p.neutral)
            for stage in self.stages
            for p in stage.parameters
            if p.name not in moved
        }
        return moved | fixed

    def __call__(
        self,
        linear: Float[Tensor, "b 3 h w"],
        theta: Float[Tensor, "b d"],
        noise: Float[Tensor, "b 3 2"] | None = None,
        guide: Guide | None = None,
    ) -> Float[Tensor, "b 3 h w"]:
        """Render.

        Args:
            linear: Scene-linear Rec. 709, white-balanced as shot, 1.0 = sensor white.
            theta: One row for each image, in [-1, 1].
            noise: Shot and read noise per channel at this resolution (`develop.reference.develop`);
                None means noise-free, which leaves nothing to denoise.
            guide: A small version of `linear`, reduced by `detail.guide_factor`; made from it if
                None.

        Returns:
            Encoded RGB in [0, 1].
        """
        noise = linear.new_zeros(len(linear), 3, 2) if noise is None else noise
        values = self.values(theta)
        height, width = linear.shape[-2:]
        factor = detail.guide_factor(max(height, width))
        guide = detail.reduce(linear, factor) if guide is None else guide
        planes, maps = self.measure(guide, noise, values)
        if factor > 1:
            large = {n: detail.enlarge(m, factor, (height, width)) for n, m in maps.items()}
            planes = self.apply(linear.unbind(1), large, self.constants(values))
        return torch.stack(planes, dim=1).clamp(0, 1)

    def measure(
        self, guide: Guide, noise: Float[Tensor, "b 3 2"], values: Values
    ) -> tuple[Planes, Maps]:
        """Render the guide, and gather the maps that the stages measure on the way."""
        constants, maps = self.constants(values), dict[str, Tensor]()
        for stage in self.stages:
            maps.update(stage.measure(guide, noise, values))
            guide = replace(guide, planes=stage.apply(guide.planes, maps, constants))
        return guide.planes, maps

    def apply(self, planes: Planes, maps: Maps, constants: Constants) -> Planes:
        """The elementwise part of all stages; may leave [0, 1] a little."""
        for stage in self.stages:
            planes = stage.apply(planes, maps, constants)
        return planes

    def constants(self, values: Values) -> Constants:
        """What `apply` needs beside the maps: one number for each picture, (B, 1, 1)."""
        derived = {name: v for stage in self.stages for name, v in stage.prepare(values).items()}
        return {name: v[:, None, None] for name, v in {**values, **derived}.items()}


def _spaced(name: str) -> str:
    return name.lower().replace("-", " ").replace("_", " ").strip()


def _measure_denoise(guide: Guide, noise: Float[Tensor, "b 3 2"], values: Values) -> Maps:
    return detail.measure_denoise(guide, noise, values["denoise"])


def _denoise(planes: Planes, maps: Maps, k: Constants) -> Planes:
    return detail.denoise(planes, maps)


def _white_balance(planes: Planes, maps: Maps, k: Constants) -> Planes:
    return rgb.mix(planes, [k[f"white balance {i}"] for i in range(9)])


def _prepare_white_balance(values: Values) -> Values:
    matrix = rgb.white_balance_matrix(values["temperature"], values["tint"]).flatten(1)
    return {f"white balance {i}": matrix[:, i] for i in range(9)}


def _exposure(planes: Planes, maps: Maps, k: Constants) -> Planes:
    return tuple(x * k["gain"] for x in planes)


def _prepare_exposure(values: Values) -> Values:
    return {"gain": torch.exp2(values["exposure"])}


def _tone(planes: Planes, maps: Maps, k: Constants) -> Planes:
    return tone.render_tone(planes, k)


def _prepare_tone(values: Values) -> Values:
    return {"floor": tone.tone_curve(torch.zeros_like(values["blacks"]), values)}


def _color(planes: Planes, maps: Maps, k: Constants, *, space: OutputSpace) -> Planes:
    """Chroma, then the gamut and the transfer function of the output space."""
    linear = rgb.scale_chroma(planes, k["saturation"], k["vibrance"])
    if space is not SRGB:
        linear = rgb.mix(linear, space.from_rec709.ravel().tolist())
    return tuple(space.encode(x) for x in rgb.compress_gamut(linear, space.luminance))


def _measure_local_contrast(guide: Guide, noise: Float[Tensor, "b 3 2"], values: Values) -> Maps:
    return detail.measure_local_contrast(guide)


def _local_contrast(planes: Planes, maps: Maps, k: Constants) -> Planes:
    return detail.local_contrast(planes, maps, k["local_contrast"])


def _measure_sharpen(guide: Guide, noise: Float[Tensor, "b 3 2"], values: Values) -> Maps:
    return detail.measure_sharpen(guide)


def _sharpen(planes: Planes, maps: Maps, k: Constants) -> Planes:
    return detail.sharpen(planes, maps, k["sharpen"])


def default_pipeline(space: OutputSpace = SRGB) -> IspPipeline:
    """The stages of this ISP, with encoded RGB of `space` as its output."""
    return IspPipeline(
        (
            Stage(
                "denoise",
                (Parameter("denoise", "", 0.0, 0.25, 1.0, help="strength against the noise"),),
                _denoise,
                detail.DENOISE_MAPS,
                _measure_denoise,
            ),
            Stage(
                "white balance",
                (
                    Parameter("temperature", "mired", -70.0, 0.0, 70.0, help="positive is warmer"),
                    Parameter(
                        "tint", "Duv x 1000", -20.0, 0.0, 20.0, help="positive is more magenta"
                    ),
                ),
                _white_balance,
                prepare=_prepare_white_balance,
            ),
            Stage(
                "exposure",
                (Parameter("exposure", "EV", -2.0, 0.0, 2.0, help="gain in scene-linear light"),),
                _exposure,
                prepare=_prepare_exposure,
            ),
            Stage(
                "tone",
                (
                    Parameter("highlights", "", -1.0, 0.0, 1.0, help="bright tones; < 0 recovers"),
                    Parameter("shadows", "", -1.0, 0.0, 1.0, help="dark tones; > 0 lifts"),
                    Parameter("whites", "", -1.0, 0.0, 1.0, help="white point; > 0 brightens"),
                    Parameter("blacks", "", -1.0, 0.0, 1.0, help="black point; < 0 deepens"),
                    Parameter("contrast", "", -0.6, 0.0, 1.0, help="S-curve about the middle"),
                    Parameter(
                        "gamma", "", 1 / 1.5, 1.0, 1.5, "log", help="midtones; > 1 brightens"
                    ),
                ),
                _tone,
                prepare=_prepare_tone,
            ),
            Stage(
                "color",
                (
                    Parameter(
                        "saturation", "", -0.5, 0.0, 0.5, help="relative change of Oklab chroma"
                    ),
                    Parameter("vibrance", "", -0.5, 0.0, 0.5, help="the same, for muted colours"),
                ),
                partial(_color, space=space),
            ),
            Stage(
                "local contrast",
                (Parameter("local_contrast", "", -0.5, 0.0, 1.0, help="of areas; edges stay"),),
                _local_contrast,
                detail.LOCAL_MAPS,
                _measure_local_contrast,
            ),
            Stage(
                "sharpen",
                (Parameter("sharpen", "", 0.0, 0.3, 1.5, help="amount of unsharp mask on luma"),),
                _sharpen,
                detail.SHARPEN_MAPS,
                _measure_sharpen,
            ),
        )
    )


DEFAULT_PIPELINE = default_pipeline()
