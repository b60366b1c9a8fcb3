"""Rendering scenes and judging the pictures: what the task, every agent and every search share."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from isp_env.batches import each, join, take
from isp_env.observations import Glance, glance
from isp_env.pipeline import DEFAULT_PIPELINE, IspPipeline
from isp_env.previews import PreviewSet
from isp_env.rewards import Potential, QualityReward, Reference, reference

CHUNKS = {"cpu": 8, "cuda": 64}
"""Scenes rendered at once: larger batches leave the caches of a CPU and are slower."""
REMEMBERED = 4096  # neutral renderings; some 30 kB each


class Sight(NamedTuple):
    """What the task keeps of pictures: it can have the pictures themselves made anew."""

    glance: Glance
    potential: Potential


class Neutral(NamedTuple):
    """What the task keeps of neutral renderings."""

    sight: Sight
    reference: Reference


@dataclass(frozen=True)
class JudgedScenes:
    """Scenes, the ISP that renders them, and the reward that judges the pictures.

    Attributes:
        scenes: Previews.
        reward: The potential.
        pipeline: The ISP; theta moves its knobs.
        device: Where pictures are rendered and judged.
        chunk: Scenes rendered and judged at once; None takes the device's of `CHUNKS`.
    """

    scenes: PreviewSet
    reward: QualityReward
    pipeline: IspPipeline = DEFAULT_PIPELINE
    device: str | torch.device = "cpu"
    chunk: int | None = None
    _remembered: OrderedDict[int, Neutral] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

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
        for part in self.parts(len(rows)):
            image = self.render(rows[part], theta[part])
            against = image if neutral is None else neutral[part]
            images.append(image)
            potentials.append(self.reward(image, against, theta[part]))
        return torch.cat(images), join(potentials)

    def neutral(self, rows: Int[np.ndarray, " n"]) -> tuple[Float[Tensor, "n 3 h w"], Potential]:
        """The neutral renderings of the scenes `rows`, judged."""
        return self.judge(rows, torch.zeros(len(rows), self.knobs, device=self.device))

    @torch.inference_mode()
    def see(
        self, scene: Int[np.ndarray, " n"], theta: Float[Tensor, "n d"], neutral: Neutral
    ) -> Sight:
        """Render, look and judge; `neutral` is what `see_neutral` says of the same scenes."""
        sights = []
        for part in self.parts(len(scene)):
            image, knobs = self.render(scene[part], theta[part]), theta[part]
            against = take(neutral.reference, part)
            sights.append(Sight(glance(image), self.reward.against(image, against, knobs)))
        return join(sights)

    @torch.inference_mode()
    def see_neutral(self, scene: Int[np.ndarray, " n"]) -> Neutral:
        """What there is to see of the neutral renderings of scenes; seen once, then remembered."""
        memory, numbers = self._remembered, scene.tolist()
        found = {number: memory[number] for number in numbers if number in memory}
        missing = np.array([n for n in dict.fromkeys(numbers) if n not in found], np.int64)
        for part in self.parts(len(missing)):
            theta = torch.zeros(len(missing[part]), self.knobs, device=self.device)
            image = self.render(missing[part], theta)
            against = reference(image)
            sight = Sight(glance(image), self.reward.against(image, against, theta))
            for row, number in enumerate(missing[part].tolist()):
                one = take(Neutral(sight, against), slice(row, row + 1))
                found[number] = each(torch.clone, one)  # not the memory of the whole batch
        for number, neutral in found.items():
            memory[number] = neutral
            memory.move_to_end(number)
        while len(memory) > REMEMBERED:
            memory.popitem(last=False)
        return join([found[number] for number in numbers])

    def gradient(
        self,
        rows: Int[np.ndarray, " n"],
        theta: Float[Tensor, "n d"],
        neutral: Float[Tensor, "n 3 h w"],
    ) -> tuple[Potential, Float[Tensor, "n d"]]:
        """Render and judge as `judge` does, and the gradient of the potential by theta."""
        potentials, slopes = [], []
        for part in self.parts(len(rows)):
            knobs = theta[part].detach().requires_grad_()
            potential = self.reward(self.render(rows[part], knobs), neutral[part], knobs)
            slopes.append(torch.autograd.grad(potential.value.sum(), knobs)[0])
            potentials.append(each(torch.detach, potential))
        return join(potentials), torch.cat(slopes)

    def parts(self, count: int) -> Iterator[slice]:
        """Slices of `count` rows, as many rows in each as are rendered at once."""
        chunk = self.chunk or CHUNKS.get(torch.device(self.device).type, CHUNKS["cpu"])
        return (slice(first, first + chunk) for first in range(0, count, chunk))
