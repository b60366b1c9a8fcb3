"""The referees that no agent is paid by: another quality model, two classical ones, the truth."""

import torch

from agents.referees import Referee, blind, full_references
from attiqa.niqe import load_pristine, niqe
from attiqa.scene_regression import load_regression
from attiqa.scoring import load_model


def independent_referees(second: str, device: str) -> tuple[Referee, ...]:
    """All of them.

    Args:
        second: Another quality model than the reward's: what `load_model` takes.
        device: Where it runs.
    """
    model, pristine = load_model(second, device), load_pristine()
    return (
        blind(model.card.name, torch.no_grad()(lambda images: model.predict(images).score)),
        blind("-NIQE", lambda images: -niqe(images, pristine)),
        blind("natural scenes", load_regression()),
        *full_references(),
    )
