"""A look without an environment is what the environment shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede94, rgb2lab
from torch import nn

from agents.policies import Agent
from agents.policies.looks import answers, choices, look, shrunk
from isp_env.task.environment import AutoresetMode, IspTuningVectorEnv, TaskSettings
from isp_env.task.observations import CAPTURE
from isp_env.task.reward import QualityReward
from tests.agents.tiny import PIPELINE, agent_of, dark_shots, opinionated, scenes_of

KNOBS = len(PIPELINE.parameters)
COUNT = 4


def level(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return images.mean((1, 2, 3)), images.new_zeros(len(images), 0)


def env(horizon: int) -> IspTuningVectorEnv:
    return IspTuningVectorEnv(
        scenes_of(shots()),
        QualityReward(level),
        COUNT,
        PIPELINE,
        TaskSettings(horizon, absolute=True),
        AutoresetMode.DISABLED,
    )


def shots():
    """With light of 16 bits, as scenes have it."""
    taken = dark_shots(COUNT, 0)
    return taken._replace(linear=taken.linear.half().float())


def test_a_look_is_what_the_environment_shows():
    theta = torch.linspace(-0.5, 0.5, COUNT * KNOBS).view(COUNT, KNOBS)
    taken, task = shots(), env(3)
    task.reset(options={"scene": np.arange(COUNT)})
    shown, *_ = task.step(theta.numpy())
    neutral = PIPELINE(taken.linear, torch.zeros_like(theta), taken.noise)
    seen = look(taken, PIPELINE(taken.linear, theta, taken.noise), neutral, theta)
    assert shown["image"] == pytest.approx(seen["image"].numpy(), abs=0.51)
    assert seen["image"].max() > 100
    assert shown["linear"] == pytest.approx(seen["linear"].numpy(), abs=1e-6)
    assert shown["vector"][:, :KNOBS] == pytest.approx(seen["vector"][:, :KNOBS].numpy())
    assert shown["vector"][:, -CAPTURE:] == pytest.approx(seen["vector"][:, -CAPTURE:].numpy())
    assert np.abs(shown["vector"][:, -CAPTURE:]).min() > 0.1


def test_answers_are_those_of_episodes():
    policy, taken = opinionated(), shots()
    task = env(1)
    observation, _ = task.reset(options={"scene": np.arange(COUNT)})
    acted, _ = policy.predict(observation, deterministic=True)
    found = answers(policy, PIPELINE, taken, 2)
    assert len(found) == 2
    assert found[0].numpy() == pytest.approx(acted, abs=0.02)  # 8 bits of pictures
    assert np.ptp(acted) > 0.2
    assert torch.equal(answers(policy, PIPELINE, taken, 1)[0], found[0])


def test_the_second_look_is_at_the_policys_own_picture():
    policy, taken = opinionated(), shots()
    first, second = answers(policy, PIPELINE, taken, 2)
    neutral = PIPELINE(taken.linear, torch.zeros_like(first), taken.noise)
    own = PIPELINE(taken.linear, first, taken.noise)
    with torch.no_grad():
        again = policy.get_distribution(look(taken, own, neutral, first)).distribution.mean  # type: ignore[union-attr,arg-type]
    assert torch.allclose(second, again.clamp(-1, 1), atol=1e-5)
    assert not torch.allclose(second, first, atol=1e-3)


def test_answers_stay_within_the_knobs():
    policy = opinionated()
    assert isinstance(policy.action_net, nn.Linear)
    with torch.no_grad():
        policy.action_net.bias.add_(torch.tensor([3.0, -3.0, 0.0]))
    (theta,) = answers(policy, PIPELINE, shots(), 1)
    assert (theta[:, 0] == 1).all()
    assert (theta[:, 1] == -1).all()


def test_small_changes_are_shrunk_and_large_ones_are_kept():
    """By hand: exposures that change the picture by d keep d^2 / (d^2 + 8^2) of theta."""
    taken = shots()
    theta = torch.zeros(COUNT, len(PIPELINE.parameters))
    theta[:, 0] = torch.linspace(-0.5, 0.5, COUNT)
    neutral, changed = (PIPELINE(taken.linear, t, taken.noise) for t in (0 * theta, theta))
    labs = [rgb2lab(x.permute(0, 2, 3, 1).numpy()) for x in (neutral, changed)]
    apart = deltaE_ciede94(*labs).mean((1, 2))
    assert apart.min() < 8 < apart.max()
    found = shrunk(PIPELINE, taken, theta, 8.0)[:, 0].numpy()
    assert found == pytest.approx(theta[:, 0].numpy() * apart**2 / (apart**2 + 64), rel=0.02)
    assert torch.equal(shrunk(PIPELINE, taken, theta, 0.0), theta)


def test_an_agent_chooses_by_its_last_look_and_its_doubt():
    policy, taken = opinionated(), shots()
    last = answers(policy, PIPELINE, taken, 2)[-1]
    certain = agent_of(policy, looks=2)
    assert torch.equal(choices(certain, PIPELINE, taken), last)
    doubting = Agent(policy, replace(certain.card, doubt=4.0))
    chosen = choices(doubting, PIPELINE, taken)
    assert torch.equal(chosen, shrunk(PIPELINE, taken, last, 4.0))
    assert (chosen.abs() < last.abs()).all()
