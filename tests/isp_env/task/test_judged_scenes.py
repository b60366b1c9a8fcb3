"""What scenes are compared with: the pictures and settings of their anchors."""

import numpy as np
import pytest
import torch

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings, clipped_share, opponents

PIPELINE = DEFAULT_PIPELINE.only(["exposure", "temperature"])
ROWS = np.array([1, 0, 1])


class Means:
    """A judge that knows the shot: how much more of each colour there is than in the reference."""

    def see(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))

    def compare(self, seen, reference):
        return (seen - reference).mean(1), seen


@pytest.fixture(scope="module")
def scenes() -> PreviewSet:
    linear = np.random.default_rng(0).uniform(0, 0.5, (2, 3, 32, 48)).astype(np.float16)
    white = np.ones((2, 3), np.float32)
    return PreviewSet(linear, np.zeros((2, 3, 2), np.float32), white, np.full(2, 100, "f4"))


def test_the_anchors_settings_and_picture_are_what_pictures_are_compared_with(scenes):
    anchors = np.array([[0.5, 0.8], [-0.4, 0.3]], np.float32)
    judged = JudgedScenes(scenes, QualityReward(Means()), PIPELINE, anchors=anchors)
    reference = judged.references(ROWS)
    theta = torch.from_numpy(anchors[ROWS])
    picture, neutral = judged.render(ROWS, theta), judged.render(ROWS, 0 * theta)
    assert torch.equal(reference.theta, theta)
    assert torch.allclose(reference.colors, opponents(picture), atol=1e-3)
    assert torch.allclose(reference.seen, picture.mean((2, 3)), atol=1e-6)
    assert torch.allclose(reference.clipped, clipped_share(neutral), atol=1e-6)
    _, potential = judged.judge(ROWS, theta)
    assert potential.score.abs().max() < 1e-6  # the anchor's own picture
    assert potential.leash[:, 1:].abs().max() < 1e-6  # at no distance from itself
    _, potential = judged.neutral(ROWS)
    weight = RewardSettings().theta_weight
    assert torch.allclose(potential.leash[:, 2], weight * theta.square().mean(1))


def test_without_anchors_the_neutral_rendering_is_the_reference(scenes):
    judged = JudgedScenes(scenes, QualityReward(Means()), PIPELINE)
    reference = judged.references(ROWS)
    neutral, potential = judged.neutral(ROWS)
    assert torch.allclose(reference.colors, opponents(neutral), atol=1e-3)
    assert potential.score.abs().max() < 1e-6
    assert reference.theta.abs().max() == 0
