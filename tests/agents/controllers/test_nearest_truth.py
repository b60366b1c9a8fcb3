"""The ceiling of the ISP on scenes whose best theta is known."""

import numpy as np
import pytest
import torch

from agents.controllers.base import Found
from agents.controllers.nearest_truth import fit_truth
from agents.evaluation.fidelity import fidelity
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward
from tests.agents.tiny import PIPELINE

COUNT = 6


class Indifferent:
    """A judge that counts what it sees."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += len(images)
        return images.mean((1, 2, 3)), images.mean((2, 3))


def reward() -> QualityReward:
    return QualityReward(Indifferent())


@pytest.fixture(scope="module")
def planted() -> tuple[PreviewSet, torch.Tensor]:
    """Scenes, and settings that make their truths."""
    rng = np.random.default_rng(0)
    colors = rng.uniform(0.02, 0.15, (COUNT, 3, 6, 6)).repeat(3, 2).repeat(3, 3)
    theta = torch.from_numpy(rng.uniform(-0.6, 0.6, (COUNT, 3)).astype(np.float32))
    linear = colors.astype(np.float16)
    noise = np.zeros((COUNT, 3, 2), np.float32)
    with torch.no_grad():
        light = torch.from_numpy(linear.astype(np.float32))
        truth = PIPELINE(light, theta, torch.from_numpy(noise))
    neutral, iso = np.ones((COUNT, 3), np.float32), np.full(COUNT, 100, np.float32)
    return PreviewSet(linear, noise, neutral, iso, truth.numpy().astype(np.float16)), theta


@pytest.fixture(scope="module")
def fitted(planted) -> Found:
    return fit_truth(80)(JudgedScenes(planted[0], reward(), PIPELINE), np.arange(COUNT))


def test_the_planted_theta_is_recovered(planted, fitted):
    assert fitted.theta == pytest.approx(planted[1].numpy(), abs=0.04)
    assert (fitted.renders == 80).all()


def test_the_whole_isp_reaches_a_planted_picture(planted):
    scenes, rows = planted[0].some(np.arange(4)), np.arange(4)
    knobs = len(DEFAULT_PIPELINE.parameters)
    theta = torch.from_numpy(np.random.default_rng(1).uniform(-0.5, 0.5, (4, knobs)).astype("f4"))
    linear, noise = scenes.images(rows, "cpu")
    truth = DEFAULT_PIPELINE(linear, theta, noise)
    there = PreviewSet(**{**vars(scenes), "truth": truth.numpy().astype(np.float16)})
    task = JudgedScenes(there, reward())
    found = fit_truth(100)(task, rows)
    before, after = (task.render(rows, t) for t in (0 * theta, torch.from_numpy(found.theta)))
    for scene in rows:
        assert fidelity(before[scene], truth[scene])["ciede2000"] > 3
        assert fidelity(after[scene], truth[scene])["ciede2000"] < 0.5


def test_a_scene_is_fitted_alike_in_any_company_and_judged_once(planted, fitted):
    judge, rows = Indifferent(), np.array([5, 3])
    task = JudgedScenes(planted[0], QualityReward(judge), PIPELINE)
    found = fit_truth(80)(task, rows)
    assert found.theta == pytest.approx(fitted.theta[rows], abs=1e-4)
    assert judge.seen == 2 + 2  # the neutral renderings and the results, to report them
    _, potential = task.judge(rows, torch.from_numpy(found.theta))
    assert found.value == pytest.approx(potential.value.numpy(), abs=1e-5)


def test_the_best_iterate_counts(planted):
    """Adam's first steps from the answer lead away from it."""
    scenes = planted[0].some(np.arange(2))
    task = JudgedScenes(scenes, reward(), PIPELINE)
    neutral = task.neutral(np.arange(2))[0].numpy().astype(np.float16)
    there = JudgedScenes(PreviewSet(**{**vars(scenes), "truth": neutral}), reward(), PIPELINE)
    assert np.abs(fit_truth(3)(there, np.arange(2)).theta).max() == 0


def test_scenes_without_a_truth_are_refused(planted):
    bare = PreviewSet(**{**vars(planted[0]), "truth": None})
    with pytest.raises(ValueError, match="no truths"):
        fit_truth(1)(JudgedScenes(bare, reward(), PIPELINE), np.arange(2))
