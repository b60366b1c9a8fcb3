import numpy as np
import pytest

from attiqa.evaluation.probes.ridge import fit_linear_probe


def problem(count: int = 30, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    features = random.normal(2.0, [1, 5, 0.1, 3, 1][:width], (count, width))
    return features, features @ np.array([1, 0, 5, 0.1, 0][:width]) + random.normal(size=count)


def ridge(features, mos, alpha, mean, std):
    """The normal equations with an intercept column that is not penalised."""
    z = np.column_stack([np.ones(len(features)), (features - mean) / std])
    penalty = alpha * np.diag([0.0] + [1.0] * features.shape[1])
    return np.linalg.solve(z.T @ z + penalty, z.T @ mos)


def test_predictions_solve_the_normal_equations():
    features, mos = problem()
    mean, std = features.mean(0), features.std(0)
    probe = fit_linear_probe(features, mos, alphas=(3.0,))
    solution = ridge(features, mos, 3.0, mean, std)
    new = np.random.default_rng(1).normal(size=(4, 5))
    assert probe(new) == pytest.approx(solution[0] + (new - mean) / std @ solution[1:])


def test_the_penalty_predicts_left_out_photographs_best():
    features, mos = problem()
    mean, std = features.mean(0), features.std(0)
    alphas = (0.01, 1.0, 5.0, 20.0, 100.0)
    errors = []
    for alpha in alphas:
        missed = []
        for left_out in range(len(mos)):
            kept = np.arange(len(mos)) != left_out
            solution = ridge(features[kept], mos[kept], alpha, mean, std)
            z = (features[left_out] - mean) / std
            missed.append(mos[left_out] - solution[0] - z @ solution[1:])
        errors.append(np.mean(np.square(missed)))
    assert 0 < np.argmin(errors) < len(alphas) - 1  # a choice that means something
    assert fit_linear_probe(features, mos, alphas).alpha == alphas[int(np.argmin(errors))]


def test_constant_features_and_more_features_than_photographs_do_no_harm():
    features, mos = problem(20)
    constant = np.full((20, 40), 7.0)
    wide = fit_linear_probe(np.concatenate([features, constant], axis=1), mos)
    plain = fit_linear_probe(features, mos)
    assert wide.weights[:5] == pytest.approx(plain.weights)
    assert not wide.weights[5:].any()


def test_too_few_photographs():
    with pytest.raises(ValueError, match="three"):
        fit_linear_probe(np.ones((2, 3)), np.ones(2))
