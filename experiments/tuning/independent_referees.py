"""The referees that no agent is paid by: another quality model, and what knows the truth."""

import logging

import torch

from agents.evaluation.referees import Referee, beside_neutral, full_references
from attiqa.model.quality_model import load_model

log = logging.getLogger(__name__)


def independent_referees(second: str, device: str) -> tuple[Referee, ...]:
    """Return all of them.

    Args:
        second: Another quality model than the reward's: what `load_model` takes. One that has not
            learned to compare developments is left out, with a warning.
        device: Where it runs.
    """
    model = load_model(second, device)
    if not model.net.architecture.development_features:
        log.warning("%s: no referee, it does not compare developments", model.card.name)
        return full_references()
    return (
        beside_neutral(model.card.name, torch.no_grad()(model.nearness)),
        *full_references(),
    )
