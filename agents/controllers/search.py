"""Searches for the theta of greatest potential: what an agent saves is what they cost.

Each returns a `Controller` and reports, from one run, the best of its first renders at several
budgets: a smaller budget is a prefix of the same search. The neutral rendering competes, so nothing
found is worse.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.controllers.base import Controller, Found, Tried, gathered, joined, try_out
from isp_env.task.judged_scenes import JudgedScenes

if TYPE_CHECKING:
    import cma

CMA_SIGMA = 0.3  # of the first generation; theta spans [-1, 1]
LEARNING_RATE = 0.05  # Adam's steps in theta
REFINING_RATE = 0.08  # best score after 4 steps, of 0.03 to 0.12, on 40 training scenes
NOTHING_HELD: Mapping[int, float] = MappingProxyType({})

T = TypeVar("T")


def random_search(budgets: Sequence[int], seed: int) -> Controller:
    """Draw settings uniformly from [-1, 1]^d.

    Args:
        budgets: Numbers of renders to report after, growing; the last ends the search.
        seed: What is tried on a scene depends on (seed, row) alone.

    Raises:
        ValueError: `budgets` do not grow from 1 or more.
    """
    length = _last(budgets)

    def search(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
        start = _start(judged, rows)
        drawn = [
            np.random.default_rng((seed, row)).uniform(-1, 1, (length, judged.knobs))
            for row in rows
        ]
        tried = try_out(judged, rows, np.array(drawn, np.float32))
        return joined([start, tried]).best_after(budgets)

    return search


def cma_es(budgets: Sequence[int], seed: int) -> Controller:
    """Run covariance matrix adaptation from theta = 0 (Hansen and Ostermeier 2001, package `cma`).

    Generations of 4 + floor(3 ln d) settings, all scenes in step; the last one is cut short.

    Args:
        budgets: Numbers of renders to report after, growing; the last ends the search.
        seed: What is drawn for a scene depends on (seed, row) alone.

    Raises:
        ValueError: `budgets` do not grow from 1 or more.
    """
    length = _last(budgets)

    def search(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
        start = _start(judged, rows)
        strategies = [_strategy(judged.knobs, np.random.default_rng((seed, row))) for row in rows]
        tries, left = [start], length
        while left:
            asked = [strategy.ask() for strategy in strategies]
            tries.append(try_out(judged, rows, np.array(asked, np.float32)[:, :left]))
            left -= tries[-1].value.shape[1]
            if left:
                for strategy, theta, value in zip(strategies, asked, tries[-1].value, strict=True):
                    strategy.tell(theta, (-value).tolist())
        return joined(tries).best_after(budgets)

    return search


def gradient_ascent(budgets: Sequence[int]) -> Controller:
    """Run Adam (Kingma and Ba 2015) from theta = 0 through reward and ISP; the best iterate counts.

    Each iterate is one render, the first included, which renders neutral for its gradient.

    Args:
        budgets: Numbers of renders to report after, growing; the last ends the ascent.

    Raises:
        ValueError: `budgets` do not grow from 1 or more.
    """
    length = _last(budgets)

    def search(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
        start = _start(judged, rows)
        origin = torch.zeros(len(rows), judged.knobs, device=judged.device)
        path = climb(partial(judged.gradient, rows), origin, length)
        tries = [Tried.of(theta, potential) for theta, potential in path]
        return joined([start, *tries]).best_after(budgets)

    return search


def refined(
    proposal: Controller,
    budgets: Sequence[int],
    rate: float = REFINING_RATE,
    held: Mapping[int, float] = NOTHING_HELD,
) -> Controller:
    """Refine a proposal, such as an agent's, by Adam; the best picture counts.

    The first iterate is the proposal's own picture, with its gradient: no further render. So a
    budget of 5 after an agent that renders once leaves 4 steps.

    Where knobs are held, their part of the proposal is dropped, every picture is rendered with
    them as they are held, and "neutral", which competes, is the picture whose other knobs are
    neutral.

    Args:
        proposal: Where to start.
        budgets: Numbers of renders to report after, growing, the proposal's included.
        rate: Adam's step in theta.
        held: Columns of theta that are not searched, and the theta that they have.

    Raises:
        ValueError: `budgets` do not grow from 1 or more, or the first is below the proposal's cost.
    """
    length = _last(budgets)

    def search(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
        proposed = proposal(judged, rows)
        costs = np.maximum(proposed.renders, 1)
        if budgets[0] < costs.max():
            raise ValueError(f"budgets: the proposal costs {costs.max()} renders, got {budgets}")
        origin = _holding(held, torch.from_numpy(proposed.theta).to(judged.device))
        groups: list[np.ndarray] = []
        tried: list[Tried] = []
        for cost in np.unique(costs):  # scenes that left equally many steps climb together
            part = np.flatnonzero(costs == cost)
            start = _start(judged, rows[part], held)
            slope = partial(judged.gradient, rows[part])
            path = climb(slope, origin[part], length - int(cost) + 1, rate, held)
            tries = [Tried.of(theta, potential) for theta, potential in path]
            before = [tries[0]] * (int(cost) - 1)  # what else the proposal saw was no better
            groups.append(part)
            tried.append(joined([start, *before, *tries]))
        return gathered(groups, tried).best_after(budgets)

    return search


def climb(
    gradient: Callable[[Float[Tensor, "n d"]], tuple[T, Float[Tensor, "n d"]]],
    start: Float[Tensor, "n d"],
    steps: int,
    rate: float = LEARNING_RATE,
    held: Collection[int] = (),
) -> Iterator[tuple[Float[Tensor, "n d"], T]]:
    """Yield iterates of Adam within [-1, 1], from `start`, each with what `gradient` says of it.

    Args:
        gradient: theta -> anything, and the slope in which theta is to rise.
        start: The first iterate.
        steps: How many iterates.
        rate: Adam's step.
        held: Columns of theta that stay as they start.
    """
    theta = start.clone()
    optimizer = torch.optim.Adam([theta], rate, maximize=True)
    for _ in range(steps):
        result, slope = gradient(theta)
        theta.grad = slope.index_fill(1, torch.tensor(list(held), device=slope.device).long(), 0.0)
        yield theta.clone(), result
        optimizer.step()
        theta.clamp_(-1, 1)


def _start(
    judged: JudgedScenes, rows: Int[np.ndarray, " n"], held: Mapping[int, float] = NOTHING_HELD
) -> Tried:
    theta = _holding(held, torch.zeros(len(rows), judged.knobs, device=judged.device))
    if held:
        return Tried.of(theta, judged.judge(rows, theta)[1])
    return Tried.of(theta, judged.shots(rows).sight.potential)


def _holding(held: Mapping[int, float], theta: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    theta = theta.clone()
    for column, value in held.items():
        theta[:, column] = value
    return theta


def _strategy(knobs: int, rng: np.random.Generator) -> "cma.CMAEvolutionStrategy":
    options = {
        "bounds": [-1, 1],
        "randn": lambda *shape: rng.standard_normal(shape),
        "seed": np.nan,  # leaves numpy's global generator alone
        "verbose": -9,
    }
    import cma  # imports matplotlib

    return cma.CMAEvolutionStrategy(np.zeros(knobs), CMA_SIGMA, options)


def _last(budgets: Sequence[int]) -> int:
    if not budgets or list(budgets) != sorted({*budgets}) or budgets[0] < 1:
        raise ValueError(f"budgets: expected numbers that grow from 1 or more, got {budgets}")
    return budgets[-1]
