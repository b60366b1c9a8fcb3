"""Ridge regression on frozen features: how much of the quality they already say.

The convention of CONTRIQUE (Madhusudana et al., 2022) and Re-IQA (Saha et al., CVPR 2023); ATTIQA
(section 4.5) trains an MLP on its frozen backbone instead.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-2, 5, 15))


@dataclass(frozen=True)
class LinearProbe:
    """A linear map from features to opinion scores.

    Attributes:
        weights: Per feature.
        bias: Added.
        alpha: Strength of the penalty, of the standardised features' squared weights.
    """

    weights: Float[np.ndarray, " f"]
    bias: float
    alpha: float

    def __call__(self, features: Float[np.ndarray, "n f"]) -> Float[np.ndarray, " n"]:
        """Predict opinion scores."""
        return features @ self.weights + self.bias


def fit_linear_probe(
    features: Float[np.ndarray, "n f"],
    mos: Float[np.ndarray, " n"],
    alphas: tuple[float, ...] = ALPHAS,
) -> LinearProbe:
    """Fit ridge regression with the penalty that predicts each left-out photograph best.

    Minimises `|y - Zw - b|^2 + alpha |w|^2` over standardised features Z. With the singular value
    decomposition `Z = U diag(s) V'` the hat matrix is `H = U diag(s^2 / (s^2 + alpha)) U' + 1/n`,
    and the error of photograph i by the fit without it is `(y - Hy)_i / (1 - H_ii)`: every penalty
    is tried on every photograph at the price of one decomposition, on the training part alone.

    Args:
        features: Of the training photographs; constant ones are ignored.
        mos: Their opinion scores.
        alphas: Penalties to choose from.

    Raises:
        ValueError: Fewer than three photographs.
    """
    count = len(features)
    if count < 3:
        raise ValueError(f"a linear probe needs at least three photographs; got {count}")
    features = features.astype(np.float64)
    mean, std = features.mean(0), features.std(0)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 1e-12)
    left, singular, right = np.linalg.svd((features - mean) * scale, full_matrices=False)
    target = mos - mos.mean()
    projected = left.T @ target
    errors = []
    for alpha in alphas:
        shrinkage = singular**2 / (singular**2 + alpha)
        leverage = left**2 @ shrinkage + 1 / count
        residual = (target - left @ (shrinkage * projected)) / (1 - leverage)
        errors.append(float(np.mean(residual**2)))
    alpha = alphas[int(np.argmin(errors))]
    weights = scale * (right.T @ (singular / (singular**2 + alpha) * projected))
    return LinearProbe(weights, float(mos.mean() - mean @ weights), alpha)
