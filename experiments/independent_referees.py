"""The referees that no agent is paid by: another quality model, and what knows the truth."""

import torch

from agents.referees import Referee, beside_neutral, full_references
from attiqa.scoring import load_model


def independent_referees(second: str, device: str) -> tuple[Referee, ...]:
    """All of them.

    Args:
        second: Another quality model than the reward's, which compares developments: what
            `load_model` takes.
        device: Where it runs.
    """
    model = load_model(second, device)
    return (
        beside_neutral(model.card.name, torch.no_grad()(model.nearness)),
        *full_references(),
    )
