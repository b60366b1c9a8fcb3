"""Scene-linear previews: what the tuning task renders instead of RAW files.

`preview_store` keeps them in a folder, memory-mapped, so that training starts at once and many
processes share one copy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int
from torch import Tensor

from isp_env.develop.downsized import central_square, long_side_of_square, preview
from isp_env.develop.linear_image import LinearImage
from isp_env.raw import RawImage
from isp_env.scenes.random_shots import Shots


@dataclass(frozen=True, repr=False)
class PreviewSet:
    """Previews of N scenes.

    Attributes:
        linear: Scene-linear Rec. 709, upright, as shot.
        noise: Shot and read noise per channel at this resolution.
        as_shot_neutral: Camera RGB of the as-shot white, G = 1.
        iso: ISO speed; NaN where the file states none.
        truth: Known good rendering in encoded sRGB (simulated scenes), NaN where a scene has none;
            or None where no scene has one.
    """

    linear: Float16[np.ndarray, "n 3 h w"]
    noise: Float32[np.ndarray, "n 3 2"]
    as_shot_neutral: Float32[np.ndarray, "n 3"]
    iso: Float32[np.ndarray, " n"]
    truth: Float16[np.ndarray, "n 3 h w"] | None = None

    def __len__(self) -> int:
        return len(self.linear)

    def __repr__(self) -> str:
        truth = "without" if self.truth is None else "with"
        return f"PreviewSet({len(self)} scenes of {self.linear.shape[2:]}, {truth} truth)"

    def images(
        self, rows: np.ndarray, device: str | torch.device
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 2"]]:
        """Return linear pictures and noise of the scenes `rows`."""
        linear = torch.from_numpy(self.linear[rows].astype(np.float32)).to(device)
        return linear, torch.from_numpy(np.array(self.noise[rows])).to(device)

    def truths(
        self, rows: np.ndarray, device: str | torch.device = "cpu"
    ) -> Float[Tensor, "b 3 h w"]:
        """Return known good renderings of the scenes `rows`.

        Raises:
            ValueError: The set has none.
        """
        if self.truth is None:
            raise ValueError("these scenes have no truths, as simulated scenes and experts' have")
        return torch.from_numpy(self.truth[rows].astype(np.float32)).to(device)

    def some(self, rows: Int[np.ndarray, " k"]) -> "PreviewSet":
        """Return the scenes `rows`, copied."""
        return PreviewSet(
            linear=self.linear[rows],
            noise=self.noise[rows],
            as_shot_neutral=self.as_shot_neutral[rows],
            iso=self.iso[rows],
            truth=None if self.truth is None else self.truth[rows],
        )

    @classmethod
    def joined(cls, sets: Sequence["PreviewSet"]) -> "PreviewSet":
        """Join sets of one shape, in memory.

        Raises:
            ValueError: They differ in shape, or there is none.
        """
        if not sets:
            raise ValueError("no preview sets to join")
        whole = sets[0]
        for each in sets[1:]:
            whole = whole.joined_with(each)
        return whole

    def joined_with(self, others: "PreviewSet") -> "PreviewSet":
        """Return these scenes and, after them, others of the same shape, with or without truths.

        Raises:
            ValueError: The others have another shape.
        """
        both = [self, others]
        if self.linear.shape[1:] != others.linear.shape[1:]:
            shapes = [each.linear.shape[2:] for each in both]
            raise ValueError(f"a preview set needs scenes of one shape, got {shapes}")
        if any(each.truth is not None for each in both):
            both = [each._with_truth() for each in both]
        names = [field.name for field in fields(self) if getattr(both[0], field.name) is not None]
        return PreviewSet(
            **{name: np.concatenate([getattr(each, name) for each in both]) for name in names}
        )

    def _with_truth(self) -> "PreviewSet":
        """Return NaN for the truths of scenes that have none."""
        if self.truth is not None:
            return self
        return replace(self, truth=np.full_like(self.linear, np.nan))

    @classmethod
    def of(
        cls,
        raws: Iterable[RawImage],
        long_side: int,
        truths: Iterable[np.ndarray] | None = None,
        square: bool = False,
    ) -> "PreviewSet":
        """Make previews of RAW images of one shape, with `long_side` pixels.

        Args:
            raws: Sensor data; consumed one by one.
            long_side: Pixels of the long side.
            truths: (3, h, w) encoded sRGB at the preview's size, for each of `raws`.
            square: Show the central squares alone, of `long_side` pixels: all are of one shape.

        Raises:
            ValueError: The previews differ in shape, or one is smaller than the square.
        """

        def shown(raw: RawImage) -> LinearImage:
            if not square:
                return preview(raw, long_side)
            image = preview(raw, long_side_of_square(raw, long_side))
            return replace(image, rgb=central_square(image.rgb, long_side))

        rows = [(shown(raw), raw.as_shot_neutral, raw.iso) for raw in raws]
        if len(shapes := {tuple(image.rgb.shape) for image, _, _ in rows}) != 1:
            raise ValueError(f"a preview set needs scenes of one shape, got {sorted(shapes)}")
        images: list[LinearImage] = [image for image, _, _ in rows]
        return cls(
            linear=np.stack([image.rgb.numpy().astype(np.float16) for image in images]),
            noise=np.stack([image.noise.numpy().astype(np.float32) for image in images]),
            as_shot_neutral=np.stack([neutral for _, neutral, _ in rows]).astype(np.float32),
            iso=np.array([np.nan if iso is None else iso for _, _, iso in rows], np.float32),
            truth=None if truths is None else np.stack(list(truths)).astype(np.float16),
        )


def shots_of(
    scenes: PreviewSet, rows: Int[np.ndarray, " n"], device: str | torch.device = "cpu"
) -> Shots:
    """Return the scenes `rows`; without truths, the truth has no rows."""
    linear, noise = scenes.images(rows, device)
    return Shots(
        linear,
        noise,
        torch.from_numpy(np.array(scenes.as_shot_neutral[rows])).to(device),
        torch.from_numpy(np.array(scenes.iso[rows])).to(device),
        linear[:, :, :0] if scenes.truth is None else scenes.truths(rows, device),
    )
