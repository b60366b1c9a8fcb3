"""Rendering scenes and judging the pictures: what the task, every agent and every search share."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from isp_env.pipeline import DEFAULT_PIPELINE, IspPipeline
from isp_env.previews import PreviewSet
from isp_env.rewards import Potential, QualityReward

CHUNK = 8  # scenes rendered at once: larger batches leave the caches of a CPU and are slower


@dataclass(frozen=True)
class JudgedScenes:
    """Scenes, the ISP that renders them, and the reward that judges the pictures.

    Attributes:
        scenes: Previews.
        reward: The potential.
        pipeline: The ISP; theta moves its knobs.
        device: Where pictures are rendered and judged.
    """

    scenes: PreviewSet
    reward: QualityReward
    pipeline: IspPipeline = DEFAULT_PIPELINE
    device: str | torch.device = "cpu"

    @property
    def knobs(self) -> int:
        """Length of theta."""
        return len(self.pipeline.parameters)

    def render(
        self, rows: Int[np.ndarray, " n"], theta: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Pictures of the scenes `rows`; differentiable in theta."""
        linear, noise = self.scenes.images(rows, self.device)
        return self.pipeline(linear, theta, noise)

    @torch.inference_mode()
    def judge(
        self,
        rows: Int[np.ndarray, " n"],
        theta: Float[Tensor, "n d"],
        neutral: Float[Tensor, "n 3 h w"] | None = None,
    ) -> tuple[Float[Tensor, "n 3 h w"], Potential]:
        """Render and judge, a few scenes at a time; one render for each row.

        Args:
            rows: Scenes, each as often as one likes.
            theta: Settings of the knobs.
            neutral: Their neutral renderings; None says that theta is neutral.
        """
        images, potentials = [], []
        for part in np.split(np.arange(len(rows)), range(CHUNK, len(rows), CHUNK)):
            image = self.render(rows[part], theta[part])
            against = image if neutral is None else neutral[part]
            images.append(image)
            potentials.append(self.reward(image, against, theta[part]))
        return torch.cat(images), Potential(*map(torch.cat, zip(*potentials, strict=True)))

    def neutral(self, rows: Int[np.ndarray, " n"]) -> tuple[Float[Tensor, "n 3 h w"], Potential]:
        """The neutral renderings of the scenes `rows`, judged."""
        return self.judge(rows, torch.zeros(len(rows), self.knobs, device=self.device))

    def gradient(
        self,
        rows: Int[np.ndarray, " n"],
        theta: Float[Tensor, "n d"],
        neutral: Float[Tensor, "n 3 h w"],
    ) -> tuple[Potential, Float[Tensor, "n d"]]:
        """Render and judge as `judge` does, and the gradient of the potential by theta."""
        potentials, slopes = [], []
        for part in np.split(np.arange(len(rows)), range(CHUNK, len(rows), CHUNK)):
            knobs = theta[part].detach().requires_grad_()
            potential = self.reward(self.render(rows[part], knobs), neutral[part], knobs)
            slopes.append(torch.autograd.grad(potential.value.sum(), knobs)[0])
            potentials.append(Potential(*(x.detach() for x in potential)))
        return Potential(*map(torch.cat, zip(*potentials, strict=True))), torch.cat(slopes)
