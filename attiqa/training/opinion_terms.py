"""Terms of the fine-tuning loss that compare scores with people's opinions (ATTIQA section 3.5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attiqa.errors import SettingsError
from attiqa.training.losses import (
    distribution,
    empirical_cdf,
    margin_ranking_loss,
    norm_in_norm_loss,
    plcc_loss,
    within_sets,
)
from attiqa.training.preference_losses import fidelity_loss
from attiqa.training.settings import FinetuneSettings

UNRATED = -1
"""Number of the set of photographs without a mean opinion score."""


@dataclass(frozen=True)
class Opinions:
    """What people say of photographs, on a scale of [0, 1].

    Attributes:
        settings: Weights of the terms.
        mos: Mean opinion scores.
        sets: Number of the data set of each photograph, 0 of the main one, or `UNRATED`.
        deviations: Standard deviation of the opinions about each photograph.
        values: Different scores of the main set, rising, and
        shares: the share of its scores up to each (see `losses.distribution`).
    """

    settings: FinetuneSettings
    mos: Float[Tensor, " n"]
    sets: Int[Tensor, " n"]
    deviations: Float[Tensor, " n"]
    values: Float[Tensor, " k"]
    shares: Float[Tensor, " k"]

    @cached_property
    def learnt(self) -> Float[Tensor, " m"]:
        """Scores of the main set, whose scale is learnt; none where there are preferences alone."""
        return self.mos[self.sets == 0]

    @property
    def start(self) -> float:
        """Mean opinion, where predictions begin; without any the middle of the scale."""
        return self.learnt.mean().item() if len(self.learnt) else 0.5

    @cached_property
    def unit(self) -> float:
        """Deviation of opinions on the scale of the scores: root mean square over the main set."""
        if not len(self.learnt):
            return self.settings.opinion_deviation
        return self.deviations[self.sets == 0].square().mean().sqrt().item()

    @cached_property
    def rank_margin(self) -> float:
        """Margin of the ranking by MOS."""
        return self.settings.rank_margin * self.learnt.std().item()

    def above(self, quantile: float) -> Bool[Tensor, " n"]:
        """Tell which photographs are above a quantile of their own set's scores."""
        good = torch.zeros_like(self.sets, dtype=torch.bool)
        for each in self.sets[self.sets != UNRATED].unique():
            rows = self.sets == each
            good[rows] = self.mos[rows] >= self.mos[rows].quantile(quantile)
        return good

    def quantile_errors(
        self, found: Float[Tensor, " b"], wanted: Float[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        """Compute the squared differences of the quantiles of the main set's scores."""
        values, shares = self.values.to(found.device), self.shares.to(found.device)
        off = empirical_cdf(found, values, shares) - empirical_cdf(wanted, values, shares)
        return off.square()

    def terms(
        self,
        scores: Float[Tensor, " b"],
        mos: Float[Tensor, " b"],
        sets: Int[Tensor, " b"],
        deviations: Float[Tensor, " b"],
    ) -> Mapping[str, Tensor]:
        """Compute the weighted terms for a batch: the main set's squared error, and comparisons.

        None where nobody rated any photograph of the training.

        Args:
            scores: Predictions.
            mos: Of the photographs of the batch, and likewise
            sets: their sets and
            deviations: their deviations.
        """
        if not len(self.learnt):
            return {}
        asked, main, rated = self.settings, sets == 0, sets != UNRATED
        found, wanted = scores[main], mos[main]
        columns = (scores[rated], mos[rated], sets[rated])
        linear = within_sets(plcc_loss, *columns) if asked.plcc_weight else 0.0
        terms = {"mos": mean((found - wanted).square()) + asked.plcc_weight * linear}
        if asked.quantile_weight:
            errors = self.quantile_errors(found, wanted)
            terms["quantiles"] = asked.quantile_weight * mean(errors)
        if asked.norm_in_norm_weight:
            shape = within_sets(norm_in_norm_loss, *columns)
            terms["norm in norm"] = asked.norm_in_norm_weight * shape
        if asked.rank_weight:

            def ranking(scores: Tensor, truth: Tensor) -> Tensor:
                return margin_ranking_loss(scores[:, None], truth[:, None], self.rank_margin)

            terms["ranking"] = asked.rank_weight * within_sets(ranking, *columns)
        if asked.fidelity_weight:

            def fidelity(scores: Tensor, truth: Tensor, spread: Tensor) -> Tensor:
                return fidelity_loss(scores, truth, spread, self.unit)

            terms["fidelity"] = asked.fidelity_weight * within_sets(
                fidelity, *columns, deviations[rated]
            )
        return terms


def opinions(
    settings: FinetuneSettings,
    mos: Float[np.ndarray, " n"],
    scale: tuple[float, float],
    sets: Int[np.ndarray, " n"],
    deviations: Float[np.ndarray, " n"] | None,
) -> Opinions:
    """Map opinions from their scale to [0, 1], and fill in deviations that nobody knows.

    Args:
        settings: Of the run.
        mos: Mean opinion scores.
        scale: Lowest and highest possible score.
        sets: Number of the data set of each photograph.
        deviations: Standard deviation of the opinions about each photograph, nan where unknown.

    Raises:
        SettingsError: Further sets without a loss that takes them, or quantiles of scores that are
            all the same.
    """
    within = settings.plcc_weight + settings.norm_in_norm_weight + settings.rank_weight
    if (sets > 0).any() and not within + settings.fidelity_weight:
        raise SettingsError(
            "further sets need plcc_weight, norm_in_norm_weight, rank_weight or fidelity_weight"
        )
    low, high = scale
    targets = torch.from_numpy((mos - low) / (high - low)).float()
    numbers = torch.from_numpy(sets)
    spread = torch.full_like(targets, settings.opinion_deviation)
    if deviations is not None:
        known = torch.from_numpy(deviations / (high - low)).float()
        spread = torch.where(known.isnan(), spread, known)
    learnt = targets[numbers == 0]
    values, shares = distribution(learnt) if len(learnt) else (learnt, learnt)
    if settings.quantile_weight and len(values) < 2:
        raise SettingsError("quantiles need different scores; all MOS are the same")
    return Opinions(settings, targets, numbers, spread, values, shares)


def mean(errors: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return the mean, or zero of none."""
    return errors.sum() / max(len(errors), 1)
