"""Simulated shots without end: photographs taken by real cameras with random mishaps, on tensors.

The inverse of the ISP, then a sensor, as `simulation` does it (after Brooks et al. 2019, section 3)
but for a batch of small pictures at once and without a mosaic, so that training can make a fresh
batch at every step. The photograph is the truth: it stays what it is while its shot is dark, veiled
or badly balanced, and while the camera that made the photograph had a tone curve of its own.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from isp_env.color.rgb import luminance, mix, srgb_decode, srgb_encode
from isp_env.develop.reference import recover_highlights
from isp_env.isp.stages import tone
from isp_env.isp.stages.color import scale_chroma
from isp_env.scenes.cameras import camera_neutral, color_matrices, rec709_from_camera


@dataclass(frozen=True)
class ShotSettings:
    """Distribution of cameras and mishaps.

    A share is the part of the shots that have a mishap; a spread is the standard deviation of a
    normal distribution, a most the end of a uniform one from zero.

    Attributes:
        fine_share: Shots without a large mishap: those of exposure, balance, veil, flare, mixed
            light and curve have `fine_part` of their strength.
        fine_part: See there; 0..1.
        exposure_mean: Error of exposure in EV; positive is overexposed.
        exposure_spread: Of the error, EV.
        exposure_range: Ends of the error, EV.
        balance_share: With a wrong white balance.
        balance_spread: Error of the red and blue gains, EV.
        veil_share: With haze: light of one level over the whole picture.
        veil_most: Share of the light that is haze.
        flare_share: With stray light from one side of the picture.
        flare_most: Share of the light that it is where it is strongest.
        mixed_share: Under two lights of different colour.
        mixed_spread: Difference of the two lights, EV of red and blue.
        contrast_spread: Blend with a smoothstep by which the tone curve of the unknown camera that
            made the photograph differs from the neutral one.
        gamma_spread: Logarithm of the gamma by which it differs.
        saturation_spread: Relative chroma by which its colours differ.
        kelvin: Colour temperatures of the light, uniform in mired between.
        duv_spread: Distance of the light from the Planckian locus, CIE 1960.
        iso: Ends of ISO, uniform in its logarithm.
        full_well: Ends of the electrons that saturate a pixel at ISO 100, as for ISO.
        averaged: Ends of the samples of a colour that go into a pixel, as for ISO.
    """

    fine_share: float = 0.2
    fine_part: float = 0.25
    exposure_mean: float = -0.5
    exposure_spread: float = 1.2
    exposure_range: tuple[float, float] = (-3.0, 2.0)
    balance_share: float = 0.6
    balance_spread: float = 0.32
    veil_share: float = 0.3
    veil_most: float = 0.15
    flare_share: float = 0.1
    flare_most: float = 0.15
    mixed_share: float = 0.1
    mixed_spread: float = 0.25
    contrast_spread: float = 0.12
    gamma_spread: float = 0.08
    saturation_spread: float = 0.06
    kelvin: tuple[float, float] = (2600.0, 9000.0)
    duv_spread: float = 0.004
    iso: tuple[float, float] = (100.0, 12800.0)
    full_well: tuple[float, float] = (8_000.0, 80_000.0)
    averaged: tuple[float, float] = (4.0, 400.0)


class Shots(NamedTuple):
    """A batch of scene-linear pictures with their truths; what `preview_set.PreviewSet` holds."""

    linear: Float[Tensor, "b 3 h w"]  # linear Rec. 709, white-balanced as shot, 1 = sensor white
    noise: Float[Tensor, "b 3 2"]  # variance of channel c = noise[c, 0] x + noise[c, 1]
    as_shot_neutral: Float[Tensor, "b 3"]  # camera RGB of what the camera took for grey, G = 1
    iso: Float[Tensor, " b"]
    truth: Float[Tensor, "b 3 h w"]  # encoded sRGB in [0, 1]


@torch.no_grad()
def random_shots(
    truth: Float[Tensor, "b 3 h w"],
    random: torch.Generator,
    settings: ShotSettings = ShotSettings(),
) -> Shots:
    """Take each photograph with another camera and another mishap.

    Args:
        truth: Good photographs, encoded sRGB in [0, 1].
        random: Source of everything that is drawn; on the CPU.
        settings: What is drawn how often.
    """
    s, count, device = settings, len(truth), truth.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=random).to(device)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=random).to(device)

    def between(ends: tuple[float, float]) -> Tensor:
        return (uniform() * torch.tensor(ends[1] / ends[0]).log()).exp() * ends[0]

    strength = torch.where(uniform() < s.fine_share, s.fine_part, 1.0)

    # the scene: the inverse of an unknown camera's rendering
    contrast, gamma = s.contrast_spread * normal() * strength, s.gamma_spread * normal() * strength
    saturation = s.saturation_spread * normal() * strength
    scene = _scene_of(truth, contrast.clamp(-0.5, 0.5), gamma.exp(), saturation.clamp(-0.3, 0.3))
    veil = s.veil_most * uniform() * (uniform() < s.veil_share) * strength
    scene = _veiled(scene, veil[:, None, None, None].expand(-1, 1, *truth.shape[2:]))
    flare = s.flare_most * uniform() * (uniform() < s.flare_share) * strength
    scene = _veiled(scene, flare[:, None, None, None] * _ramp(normal(2), truth.shape[2:]).square())

    # the camera, and the light that it balances for
    matrices = color_matrices().to(device)
    xyz_to_camera = matrices[(uniform() * len(matrices)).long().clamp(max=len(matrices) - 1)]
    ends = [1e6 / kelvin for kelvin in s.kelvin]
    kelvin = 1e6 / (ends[1] + (ends[0] - ends[1]) * uniform())
    neutral = camera_neutral(xyz_to_camera, kelvin, s.duv_spread * normal())
    to_rec709 = rec709_from_camera(xyz_to_camera)
    signal = _mixed(scene, torch.linalg.inv(to_rec709))
    mixed = s.mixed_spread * normal(2) * (uniform() < s.mixed_share)[:, None] * strength[:, None]
    lights = _red_and_blue(mixed)[..., None, None] * (_ramp(normal(2), truth.shape[2:]) - 0.5)
    signal = signal * torch.exp2(lights)

    # the sensor: exposure, saturation, noise
    response = neutral / neutral.amax(1, keepdim=True)
    exposure = (s.exposure_mean + s.exposure_spread * normal()).clamp(*s.exposure_range) * strength
    signal = signal * (response * torch.exp2(exposure)[:, None])[..., None, None]
    iso = between(s.iso)
    well, averaged = between(s.full_well), between(s.averaged)
    shot, read = (iso / 100 / well) / averaged, (iso / 100 * 5 / well).square() / averaged
    signal = signal.clamp(0, 1)
    variance = shot[:, None, None, None] * signal + read[:, None, None, None]
    dither = torch.randn(signal.shape, generator=random).to(device)
    signal = (signal + variance.sqrt() * dither).clamp(max=1)

    # development, with the camera's own idea of white
    balance = s.balance_spread * normal(2) * (uniform() < s.balance_share)[:, None]
    believed = neutral * torch.exp2(_red_and_blue(balance * strength[:, None]))
    gains = believed.amax(1, keepdim=True) / believed
    camera = torch.stack(recover_highlights((signal * gains[..., None, None]).unbind(1)), dim=1)
    terms = torch.stack([shot[:, None] * gains, read[:, None] * gains.square()], dim=2)
    return Shots(
        linear=_mixed(camera, to_rec709),
        noise=to_rec709.square() @ terms,
        as_shot_neutral=believed / believed[:, 1:2],
        iso=iso,
        truth=truth,
    )


def _scene_of(
    photo: Float[Tensor, "b 3 h w"],
    contrast: Float[Tensor, " b"],
    gamma: Float[Tensor, " b"],
    saturation: Float[Tensor, " b"],
) -> Float[Tensor, "b 3 h w"]:
    """Return the scene-linear picture that some camera, not ours, rendered as `photo`."""
    contrast, gamma, saturation = (x[:, None, None] for x in (contrast, gamma, saturation))
    linear = srgb_decode(photo)
    luma = srgb_encode(luminance(linear.unbind(1)).clamp(tone.DARKEST, 1))
    toned = luma * tone.gamma_gain(luma, gamma)
    toned = (toned * tone.contrast_gain(toned, contrast)).clamp(0, 1)
    gain = srgb_decode(toned) / srgb_decode(luma)
    other = linear * gain[:, None]
    other = torch.stack(scale_chroma(other.unbind(1), saturation, torch.zeros_like(saturation)), 1)
    return tone.inverse_neutral_tone(srgb_encode(other.clamp(0, 1)))


def _veiled(
    scene: Float[Tensor, "b 3 h w"], share: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """Replace a share of the light by white light of the scene's highest level."""
    return scene * (1 - share) + share


def _ramp(
    direction: Float[Tensor, "b 2"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "b 1 h w"]:
    """Return numbers that rise from 0 to 1 across the picture in a direction."""
    unit = functional.normalize(direction, dim=1)
    rows = torch.linspace(-1, 1, size[0], device=direction.device)[:, None]
    columns = torch.linspace(-1, 1, size[1], device=direction.device)
    across = unit[:, 0, None, None] * rows + unit[:, 1, None, None] * columns
    return (0.5 + across / 2**1.5)[:, None]


def _red_and_blue(errors: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3"]:
    """Return errors of red and blue with none of green between."""
    red, blue = errors.unbind(1)
    return torch.stack([red, torch.zeros_like(red), blue], dim=1)


def _mixed(
    image: Float[Tensor, "b 3 h w"], matrix: Float[Tensor, "b 3 3"]
) -> Float[Tensor, "b 3 h w"]:
    """Multiply each pixel by its picture's matrix."""
    rows = matrix.flatten(1)[:, :, None, None].unbind(1)
    return torch.stack(mix(image.unbind(1), rows), dim=1)
