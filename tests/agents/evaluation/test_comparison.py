import numpy as np
import pytest
import torch
from scipy import stats

from agents.controllers.base import Found
from agents.evaluation.comparison import batches, compare, joined, measure, measure_pictures
from agents.evaluation.referees import Referee, beside_neutral
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings

KNOBS = len(DEFAULT_PIPELINE.parameters)
EXPOSURE = [p.name for p in DEFAULT_PIPELINE.parameters].index("exposure")


def mean_level(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return images.mean((1, 2, 3)), images.mean((2, 3))


@pytest.fixture
def judged() -> JudgedScenes:
    rng = np.random.default_rng(0)
    scenes = PreviewSet(
        linear=(0.1 * rng.random((3, 3, 24, 32))).astype(np.float16),
        noise=np.zeros((3, 3, 2), np.float32),
        as_shot_neutral=np.ones((3, 3), np.float32),
        iso=np.full(3, 100, np.float32),
        truth=rng.random((3, 3, 24, 32)).astype(np.float16),
    )
    return JudgedScenes(scenes, QualityReward(mean_level, RewardSettings(views=("whole",))))


def brightened(rows: np.ndarray) -> Found:
    theta = np.zeros((len(rows), KNOBS), np.float32)
    theta[:, EXPOSURE] = 0.5
    nothing = np.zeros(len(rows))
    return Found(theta, nothing, nothing, np.full(len(rows), 7))


def test_batches_are_all_rows_once():
    parts = [rows.tolist() for rows in batches(45)]
    assert [len(part) for part in parts] == [20, 20, 5]
    assert np.concatenate(parts).tolist() == list(range(45))


def test_what_is_measured_is_the_picture_of_theta(judged):
    rows = np.array([2, 0])
    error = Referee("error", lambda x, truth, _: -(x - truth).square().mean((1, 2, 3)))
    level = Referee("level", lambda x, *_: x.mean((1, 2, 3)))
    lift = beside_neutral("lift", lambda x, neutral: (x - neutral).mean((1, 2, 3)))
    values = measure(judged, rows, brightened(rows), [error, level, lift])
    images = judged.render(rows, torch.from_numpy(brightened(rows).theta))
    truth = torch.from_numpy(judged.scenes.truth[rows].astype(np.float32))
    assert values["level"] == pytest.approx(images.mean((1, 2, 3)).numpy(), abs=1e-6)
    assert values["score"] == pytest.approx(values["level"], abs=1e-6)
    squared = (images - truth).square().mean((1, 2, 3)).numpy()
    assert values["error"] == pytest.approx(-squared, abs=1e-6)
    neutral = judged.render(rows, torch.zeros(2, KNOBS))
    assert values["lift"] == pytest.approx((images - neutral).mean((1, 2, 3)).numpy(), abs=1e-6)
    assert values["lift"].min() > 0.1
    assert values["renders"].tolist() == [7, 7]
    assert (values["halo"] >= 0).all()


def test_pictures_of_others_are_measured_as_they_are_and_pay_nothing_for_theta(judged):
    rows = np.array([1, 2])
    pictures = judged.render(rows, torch.from_numpy(brightened(rows).theta))
    level = Referee("level", lambda x, *_: x.mean((1, 2, 3)))
    own, others = (
        measure(judged, rows, brightened(rows), [level]),
        measure_pictures(judged, rows, pictures, [level]),
    )
    for name in ("score", "clipping", "chroma", "halo", "level"):
        assert others[name] == pytest.approx(own[name], abs=1e-6)
    by_theta = judged.reward.settings.theta_weight * 0.25 / KNOBS
    assert others["potential"] - own["potential"] == pytest.approx(by_theta, abs=1e-5)
    assert (others["renders"] == 0).all()


def test_parts_join_in_order(judged):
    whole = measure(judged, np.arange(3), brightened(np.arange(3)))
    parts = [measure(judged, rows, brightened(rows)) for rows in (np.arange(2), np.array([2]))]
    for name, values in joined(parts).items():
        assert values == pytest.approx(whole[name], abs=1e-6)


def test_the_interval_is_that_of_paired_differences():
    rng = np.random.default_rng(1)
    scene = rng.normal(0, 10, 200)  # scenes differ far more than controllers
    first, second = scene + rng.normal(0.5, 1, 200), scene
    result = compare(first, second)
    difference = first - second
    low, high = stats.t.interval(0.95, 199, difference.mean(), stats.sem(difference))
    assert result.mean == pytest.approx(difference.mean())
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.03)
    assert result.wins == np.mean(difference > 0)


def test_equal_results_are_neither_won_nor_lost():
    result = compare(np.ones(5), np.ones(5))
    assert (result.mean, result.low, result.high, result.wins) == (0, 0, 0, 0.5)


def test_scenes_without_a_finite_value_are_left_out():
    first, second = np.array([1.0, np.inf, 3.0]), np.array([0.0, np.inf, np.nan])
    assert compare(first, second).mean == 1
    assert compare(second[1:], second[1:]).wins == 0.5
