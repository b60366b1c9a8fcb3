"""What an agent is compared with: the form that every control has.

A control chooses theta for scenes that `isp_env.task.judged_scenes.JudgedScenes` renders and
judges, so that all of them look through the same ISP at the same reward.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import Potential

AT_ONCE = 64  # pictures judged by one call: what it returns has to fit into memory
NOT_A_NUMBER = -1e9  # the potential that a picture without one counts as: never the best


@dataclass(frozen=True)
class Found:
    """What a control chose, one row for each scene.

    `renders` counts the pictures of the scene that the control made on the way to its choice. The
    neutral rendering, which the reward needs and everybody gets, is not among them; nor is the
    choice rendered once more to report it. A picture with a gradient is one render.

    Attributes:
        theta: Settings of the knobs, in [-1, 1].
        value: Potential of the picture.
        score: The judge's score of the picture.
        renders: What the choice cost.
        earlier: What the same run had found at its smaller budgets, in their order.
    """

    theta: Float32[np.ndarray, "n d"]
    value: Float[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    renders: Int[np.ndarray, " n"]
    earlier: tuple["Found", ...] = ()


@runtime_checkable
class Controller(Protocol):
    """Chooses theta; what it finds for a scene does not depend on the other scenes of `rows`."""

    def __call__(self, judged: JudgedScenes, rows: Int[np.ndarray, " n"], /) -> Found:
        """Return settings for the scenes `rows`."""
        ...


@dataclass(frozen=True)
class Tried:
    """Pictures of n scenes in the order in which a search made them, m of each.

    Attributes:
        theta: Their settings.
        value: Their potentials.
        score: The judge's scores.
    """

    theta: Float32[np.ndarray, "n m d"]
    value: Float[np.ndarray, "n m"]
    score: Float[np.ndarray, "n m"]

    @classmethod
    def of(cls, theta: Float[Tensor, "n d"], potential: Potential) -> "Tried":
        """Make trials of one picture of each scene."""
        value = torch.nan_to_num(potential.value, nan=NOT_A_NUMBER)
        return cls(*(x.cpu().numpy()[:, None] for x in (theta, value, potential.score)))

    def best_after(self, budgets: Sequence[int]) -> Found:
        """The best pictures after so many renders; the first of `tried` is the neutral rendering.

        Args:
            budgets: Numbers of renders, growing; the last is the length of the search.
        """
        *earlier, last = (self._best(renders) for renders in budgets)
        return replace(last, earlier=tuple(earlier))

    def _best(self, renders: int) -> Found:
        scene = np.arange(len(self.theta))
        best = self.value[:, : renders + 1].argmax(1)  # the first of equals: neutral
        spent = np.full(len(scene), renders)
        chosen = (x[scene, best] for x in (self.theta, self.value, self.score))
        return Found(*chosen, renders=spent)


def joined(tries: Sequence[Tried]) -> Tried:
    """Join trials along the budget."""
    columns = ((t.theta, t.value, t.score) for t in tries)
    return Tried(*(np.concatenate(x, axis=1) for x in zip(*columns, strict=True)))


def gathered(rows: Sequence[Int[np.ndarray, " _"]], tries: Sequence[Tried]) -> Tried:
    """Join trials of groups of scenes, in the order of the scenes.

    Args:
        rows: Of the scenes of each group; together 0..n - 1.
        tries: As many of each scene in every group.
    """
    order = np.argsort(np.concatenate(list(rows)))
    columns = ((t.theta, t.value, t.score) for t in tries)
    return Tried(*(np.concatenate(x)[order] for x in zip(*columns, strict=True)))


def try_out(
    judged: JudgedScenes,
    rows: Int[np.ndarray, " n"],
    theta: Float32[np.ndarray, "n m d"],
) -> Tried:
    """Render and judge m settings of each scene."""
    scene = np.repeat(np.arange(len(rows)), theta.shape[1])
    settings = theta.reshape(len(scene), -1)
    tries = []
    for part in np.split(np.arange(len(scene)), range(AT_ONCE, len(scene), AT_ONCE)):
        knobs = torch.from_numpy(settings[part]).to(judged.device)
        _, potential = judged.judge(rows[scene[part]], knobs)
        tries.append(Tried.of(knobs, potential))
    value = np.concatenate([tried.value for tried in tries]).reshape(theta.shape[:2])
    score = np.concatenate([tried.score for tried in tries]).reshape(theta.shape[:2])
    return Tried(theta, value, score)


def chosen(
    judged: JudgedScenes,
    rows: Int[np.ndarray, " n"],
    theta: Float32[np.ndarray, "n d"],
    renders: int,
) -> Found:
    """Judge, for the report, the choice of a control that does not look at the reward."""
    tried = try_out(judged, rows, theta[:, None])
    return Found(theta, tried.value[:, 0], tried.score[:, 0], np.full(len(rows), renders))


def neutral(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
    """Return the control that turns no knob: theta = 0 after 0 renders."""
    theta = torch.zeros(len(rows), judged.knobs, device=judged.device)
    return Tried.of(theta, judged.shots(rows).sight.potential).best_after([0])
