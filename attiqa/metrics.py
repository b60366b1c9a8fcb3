"""Agreement of predicted scores with human opinion."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats


def correlations(scores: Float[np.ndarray, " n"], mos: Float[np.ndarray, " n"]) -> dict[str, float]:
    """Compute SROCC, PLCC and KROCC in [-1, 1] and the RMSE in units of the MOS.

    PLCC and RMSE are of the raw scores, without a fitted curve between the two.

    Raises:
        ValueError: Fewer than two images, or one of the two is constant.
    """
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(mos) == 0:
        raise ValueError(
            f"correlations need two or more different values; got {len(scores)} scores"
        )
    return {
        "srocc": _coefficient(stats.spearmanr(scores, mos)),
        "plcc": _coefficient(stats.pearsonr(scores, mos)),
        "krocc": _coefficient(stats.kendalltau(scores, mos)),
        "rmse": float(np.sqrt(np.mean((scores - mos) ** 2))),
    }


def _coefficient(result: Any) -> float:
    """Take the coefficient from a SciPy result, whose stubs do not know it."""
    return float(result.statistic)
