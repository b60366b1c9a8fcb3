"""Rendering scenes and judging the pictures: what the task, every agent and every search share."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.pipeline import IspPipeline
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.batches import each, join, take
from isp_env.task.observations import Glance, glance, see_linear
from isp_env.task.reward import Potential, QualityReward, Reference

CHUNKS = {"cpu": 8, "cuda": 64}
"""Scenes rendered at once: larger batches leave the caches of a CPU and are slower."""
REMEMBERED = 4096  # neutral renderings; some 60 kB each


class Sight(NamedTuple):
    """What the task keeps of pictures: it can have the pictures themselves made anew."""

    glance: Glance
    potential: Potential


class Shot(NamedTuple):
    """What the task keeps of shots: their neutral renderings, and what they are compared with."""

    sight: Sight  # of the neutral rendering
    linear: Float[Tensor, "b l"]  # `observations.see_linear`
    reference: Reference


@dataclass(frozen=True)
class JudgedScenes:
    """Scenes, the ISP that renders them, and the reward that judges the pictures.

    Attributes:
        scenes: Previews.
        reward: The potential.
        pipeline: The ISP; theta moves its knobs.
        device: Where pictures are rendered and judged.
        anchors: Theta of each scene that the penalties of the reward are measured from, such as a
            prior's; None stands for neutral.
        chunk: Scenes rendered and judged at once; None takes the device's of `CHUNKS`.
    """

    scenes: PreviewSet
    reward: QualityReward
    pipeline: IspPipeline = DEFAULT_PIPELINE
    device: str | torch.device = "cpu"
    anchors: Float32[np.ndarray, "n d"] | None = None
    chunk: int | None = None
    _remembered: OrderedDict[int, Shot] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    @property
    def knobs(self) -> int:
        """Length of theta."""
        return len(self.pipeline.parameters)

    def render(
        self, rows: Int[np.ndarray, " n"], theta: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Return pictures of the scenes `rows`; differentiable in theta."""
        linear, noise = self.scenes.images(rows, self.device)
        return self.pipeline(linear, theta, noise)

    @torch.inference_mode()
    def judge(
        self, rows: Int[np.ndarray, " n"], theta: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, "n 3 h w"], Potential]:
        """Render and judge, a few scenes at a time; one render for each row.

        Args:
            rows: Scenes, each as often as one likes.
            theta: Settings of the knobs.
        """
        images, potentials = [], []
        for part in self.parts(len(rows)):
            image = self.render(rows[part], theta[part])
            images.append(image)
            potentials.append(self.reward(image, self.references(rows[part]), theta[part]))
        return torch.cat(images), join(potentials)

    @torch.inference_mode()
    def judge_images(
        self, rows: Int[np.ndarray, " n"], images: Float[Tensor, "n 3 h w"]
    ) -> Potential:
        """Judge pictures of the scenes `rows` that another program made, without a charge on theta.

        Args:
            rows: Scenes.
            images: Display RGB in [0, 1].
        """
        shot = self.references(rows)
        return self.reward(images, shot, shot.theta)

    def neutral(self, rows: Int[np.ndarray, " n"]) -> tuple[Float[Tensor, "n 3 h w"], Potential]:
        """Return the neutral renderings of the scenes `rows`, judged."""
        return self.judge(rows, torch.zeros(len(rows), self.knobs, device=self.device))

    @torch.inference_mode()
    def see(
        self, scene: Int[np.ndarray, " n"], theta: Float[Tensor, "n d"], reference: Reference
    ) -> Sight:
        """Render, look and judge; `reference` is that of the same scenes."""
        sights = []
        for part in self.parts(len(scene)):
            image, knobs = self.render(scene[part], theta[part]), theta[part]
            sights.append(Sight(glance(image), self.reward(image, take(reference, part), knobs)))
        return join(sights)

    @torch.inference_mode()
    def shots(self, scene: Int[np.ndarray, " n"]) -> Shot:
        """Return what is known of scenes beforehand; looked at once, then remembered."""
        memory, numbers = self._remembered, scene.tolist()
        found = {number: memory[number] for number in numbers if number in memory}
        missing = np.array([n for n in dict.fromkeys(numbers) if n not in found], np.int64)
        for part in self.parts(len(missing)):
            shot = self._look_at(missing[part])
            for row, number in enumerate(missing[part].tolist()):
                one = take(shot, slice(row, row + 1))
                found[number] = each(torch.clone, one)  # not the memory of the whole batch
        for number, shot in found.items():
            memory[number] = shot
            memory.move_to_end(number)
        while len(memory) > REMEMBERED:
            memory.popitem(last=False)
        return join([found[number] for number in numbers])

    def references(self, rows: Int[np.ndarray, " n"]) -> Reference:
        """Return the references of the scenes `rows`."""
        return self.shots(rows).reference

    def anchor(self, rows: Int[np.ndarray, " n"]) -> Float[Tensor, "n d"]:
        """Return theta that the penalties are measured from."""
        if self.anchors is None:
            return torch.zeros(len(rows), self.knobs, device=self.device)
        return torch.from_numpy(self.anchors[rows]).to(self.device)

    def _look_at(self, rows: Int[np.ndarray, " n"]) -> Shot:
        linear, noise = self.scenes.images(rows, self.device)
        neutral = torch.zeros(len(rows), self.knobs, device=self.device)
        image, anchor = self.pipeline(linear, neutral, noise), self.anchor(rows)
        other = image if self.anchors is None else self.pipeline(linear, anchor, noise)
        charged = self.reward.settings.truth_weight and self.scenes.truth is not None
        truth = self.scenes.truths(rows, self.device) if charged else None
        reference = self.reward.reference(image, other, anchor, truth)
        sight = Sight(glance(image), self.reward(image, reference, neutral))
        return Shot(sight, see_linear(linear), reference)

    def gradient(
        self, rows: Int[np.ndarray, " n"], theta: Float[Tensor, "n d"]
    ) -> tuple[Potential, Float[Tensor, "n d"]]:
        """Render and judge as `judge` does, and the gradient of the potential by theta."""
        potentials, slopes = [], []
        for part in self.parts(len(rows)):
            knobs = theta[part].detach().requires_grad_()
            reference = each(torch.clone, self.references(rows[part]))  # made in inference mode
            potential = self.reward(self.render(rows[part], knobs), reference, knobs)
            slopes.append(torch.autograd.grad(potential.value.sum(), knobs)[0])
            potentials.append(each(torch.detach, potential))
        return join(potentials), torch.cat(slopes)

    def parts(self, count: int) -> Iterator[slice]:
        """Return slices of `count` rows, as many rows in each as are rendered at once."""
        chunk = self.chunk or CHUNKS.get(torch.device(self.device).type, CHUNKS["cpu"])
        return (slice(first, first + chunk) for first in range(0, count, chunk))
