"""Agreement of the attribute heads with people's scores of the same attributes.

SPAQ (Fang et al., CVPR 2020) asked people for brightness, colorfulness, contrast, noisiness and
sharpness besides quality: it shows whether the heads, which no person has taught, learned what
their names say.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from attiqa.evaluation.metrics import bootstrap_interval, plcc, srocc


def attribute_agreement(
    predicted: Float[np.ndarray, "n a"],
    human: Float[np.ndarray, "n a"],
    names: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Correlate the scores of each head with those of people.

    Args:
        predicted: Of the heads.
        human: Of people, in the same order; higher means more of the attribute, and of
            "noisiness" a cleaner photograph.
        names: Of the columns.
        resamples: Of the bootstrap over the photographs (95 %).
        seed: Of the bootstrap.

    Returns:
        For each attribute SROCC and PLCC with their intervals, and the SROCC of its head with every
        human attribute: a head that agrees more with another one has learned that.
    """
    found: dict[str, dict[str, Any]] = {}
    for column, name in enumerate(names):
        head, people = predicted[:, column], human[:, column]
        result: dict[str, Any] = {}
        for metric, statistic in (("srocc", srocc), ("plcc", plcc)):
            low, high = bootstrap_interval(head, people, statistic, resamples=resamples, seed=seed)
            result |= {metric: statistic(head, people)}
            result |= {f"{metric}_low": low, f"{metric}_high": high}
        others = {other: srocc(head, human[:, row]) for row, other in enumerate(names)}
        found[name] = result | {"srocc with each human attribute": others}
    return found
