import numpy as np
import pytest

from attiqa.metrics import correlations


def test_by_hand():
    # ranks 1 2 3 4 against 2 1 3 4: rho = 1 - 6 * 2 / (4 * 15) = .8; 5 of 6 pairs agree: tau 4/6
    found = correlations(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.1, 0.5, 0.9]))
    assert found["srocc"] == pytest.approx(0.8)
    assert found["krocc"] == pytest.approx(2 / 3)
    # deviations -.15 -.05 .05 .15 and -.15 -.35 .05 .45: .11 / sqrt(.05 * .35)
    assert found["plcc"] == pytest.approx(0.11 / np.sqrt(0.05 * 0.35))
    # squared errors .04 .01 .04 .25
    assert found["rmse"] == pytest.approx(np.sqrt(0.34 / 4))


@pytest.mark.parametrize("scores", [[1.0, 1.0], [1.0]])
def test_undefined_correlations_raise(scores):
    with pytest.raises(ValueError, match="two or more different"):
        correlations(np.array(scores), np.arange(len(scores), dtype=float))
