"""A prior as a control: what it answers, for whatever knobs the ISP has."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.controllers.prior import AT_ONCE, prior_control, prior_thetas
from agents.policies.looks import answers
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import shots_of
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward
from tests.agents.tiny import PIPELINE, agent_of, dark_shots, opinionated, scenes_of

COUNT = AT_ONCE + 3


class Indifferent:
    """A judge that counts what it sees."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += len(images)
        return images.mean((1, 2, 3)), images.mean((2, 3))


@pytest.fixture(scope="module")
def scenes():
    return scenes_of(dark_shots(COUNT, 0))


@pytest.fixture(scope="module")
def expected(scenes) -> np.ndarray:
    """The second look at each scene, all scenes in one batch."""
    shots = shots_of(scenes, np.arange(COUNT))
    return answers(opinionated(), PIPELINE, shots, 2)[1].numpy()


def test_theta_is_the_last_look(scenes, expected):
    found = prior_thetas(agent_of(opinionated(), looks=2), scenes, PIPELINE)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-4)
    first = prior_thetas(agent_of(opinionated(), looks=1), scenes, PIPELINE)
    assert np.abs(first - expected).max() > 0.01


def test_a_scene_is_answered_alike_in_any_company(scenes, expected):
    rows = np.array([COUNT - 1, 2])
    found = prior_thetas(agent_of(opinionated(), looks=2), scenes, PIPELINE, rows)
    assert found == pytest.approx(expected[rows], abs=1e-4)


@pytest.mark.parametrize(
    "pipeline",
    [
        DEFAULT_PIPELINE,
        DEFAULT_PIPELINE.only(["contrast", "saturation", "exposure", "temperature"]),
    ],
    ids=["all", "another order"],
)
def test_knobs_that_a_prior_does_not_know_stay_neutral(scenes, expected, pipeline):
    found = prior_thetas(agent_of(opinionated(), looks=2), scenes, pipeline)
    names = [p.name for p in pipeline.parameters]
    assert found.shape == (COUNT, len(names))
    known = [names.index(p.name) for p in PIPELINE.parameters]
    assert found[:, known] == pytest.approx(expected, abs=1e-4)
    assert not np.delete(found, known, axis=1).any()


def test_knobs_that_the_isp_does_not_turn_are_left_out(scenes, expected):
    pipeline = DEFAULT_PIPELINE.only(["saturation", "contrast"])
    found = prior_thetas(agent_of(opinionated(), looks=2), scenes, pipeline)
    assert found[:, 0] == pytest.approx(expected[:, 2], abs=1e-4)
    assert not found[:, 1].any()


def test_the_control_reports_its_answer_and_does_not_ask_the_judge(scenes, expected):
    judge, rows = Indifferent(), np.array([4, 0])
    judged = JudgedScenes(scenes, QualityReward(judge), PIPELINE)
    found = prior_control(agent_of(opinionated(), looks=2))(judged, rows)
    assert judge.seen == 2 + 2  # the neutral renderings and the answers, to report them
    assert found.theta == pytest.approx(expected[rows], abs=1e-4)
    assert found.renders.tolist() == [2, 2]
    _, potential = judged.judge(rows, torch.from_numpy(found.theta))
    assert found.value == pytest.approx(potential.value.numpy(), abs=1e-5)
    assert found.score == pytest.approx(potential.score.numpy(), abs=1e-5)


def test_truths_are_not_needed(scenes, expected):
    bare = replace(scenes, truth=None)
    assert shots_of(bare, np.arange(3)).truth.numel() == 0
    found = prior_thetas(agent_of(opinionated(), looks=2), bare, PIPELINE)
    assert found == pytest.approx(expected, abs=1e-4)
    shots = shots_of(scenes, np.array([3]))
    assert torch.equal(shots.truth, scenes.truths(np.array([3])))
    assert shots.iso.tolist() == [200.0]
