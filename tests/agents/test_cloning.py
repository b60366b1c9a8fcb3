import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import MultiInputActorCriticPolicy

from agents.cloning import CloningSettings, clone, fit_truth
from agents.controls import Found
from agents.policies import Agent, AgentCard, PolicySettings, knobs
from isp_env.environment import IspTuningVectorEnv, TaskSettings
from isp_env.fidelity import fidelity
from isp_env.judged import JudgedScenes
from isp_env.observations import observation_space
from isp_env.pipeline import DEFAULT_PIPELINE
from isp_env.previews import PreviewSet
from isp_env.rewards import QualityReward, RewardSettings

PIPELINE = DEFAULT_PIPELINE.only(["exposure", "temperature", "saturation"])
TASK = TaskSettings(horizon=1, absolute=True)
NETWORK = PolicySettings(32, (64, 64))
COUNT, TRAINED = 24, 20


class Indifferent:
    """A judge that counts what it sees."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += len(images)
        return images.mean((1, 2, 3)), images.mean((2, 3))


def reward() -> QualityReward:
    return QualityReward(Indifferent(), RewardSettings(views=("whole",)))


@pytest.fixture(scope="module")
def planted() -> tuple[PreviewSet, torch.Tensor]:
    """Scenes that are dark or warm to a known degree, which their truths undo."""
    rng = np.random.default_rng(0)
    colors = rng.uniform(0.05, 0.25, (COUNT, 3, 6, 6)).repeat(3, 2).repeat(3, 3)
    level = np.exp2(-rng.uniform(0, 1.5, (COUNT, 1)))
    theta = np.column_stack([-np.log2(level) / 2, rng.uniform(-0.6, 0.6, (COUNT, 1))])
    theta = torch.from_numpy(np.column_stack([theta, np.full(COUNT, 0.4)]).astype(np.float32))
    linear = (colors * level[..., None, None]).astype(np.float16)
    red = np.exp(-theta[:, 1:2].numpy())  # what the knob is to undo can be seen in the picture
    linear = (linear * np.concatenate([red, red**0, 1 / red], 1)[..., None, None]).astype("f2")
    noise = np.zeros((COUNT, 3, 2), np.float32)
    with torch.no_grad():
        truth = PIPELINE(torch.from_numpy(linear.astype(np.float32)), theta)
    scenes = PreviewSet(
        linear=linear,
        noise=noise,
        as_shot_neutral=np.ones((COUNT, 3), np.float32),
        iso=np.full(COUNT, 100, np.float32),
        truth=truth.numpy().astype(np.float16),
    )
    return scenes, theta


@pytest.fixture(scope="module")
def fitted(planted) -> Found:
    return fit_truth(80)(JudgedScenes(planted[0], reward(), PIPELINE), np.arange(COUNT))


def test_the_planted_theta_is_recovered(planted, fitted):
    theta = planted[1]
    assert fitted.theta == pytest.approx(theta.numpy(), abs=0.04)
    assert (fitted.renders == 80).all()


def test_the_whole_isp_reaches_a_planted_picture(planted):
    scenes = planted[0].some(np.arange(4))
    theta = torch.from_numpy(np.random.default_rng(1).uniform(-0.5, 0.5, (4, 14)).astype("f4"))
    linear, noise = scenes.images(np.arange(4), "cpu")
    truth = DEFAULT_PIPELINE(linear, theta, noise)
    there = PreviewSet(**{**vars(scenes), "truth": truth.numpy().astype(np.float16)})
    task = JudgedScenes(there, reward())
    found = fit_truth(100)(task, np.arange(4))
    before, after = (
        task.render(np.arange(4), t) for t in (0 * theta, torch.from_numpy(found.theta))
    )
    for scene in range(4):
        assert fidelity(before[scene], truth[scene])["ciede2000"] > 4
        assert fidelity(after[scene], truth[scene])["ciede2000"] < 0.5


def test_a_scene_is_fitted_alike_in_any_company_and_judged_once(planted, fitted):
    judge = Indifferent()
    task = JudgedScenes(
        planted[0], QualityReward(judge, RewardSettings(views=("whole",))), PIPELINE
    )
    found = fit_truth(80)(task, np.array([7, 3]))
    assert found.theta == pytest.approx(fitted.theta[[7, 3]], abs=1e-4)
    assert judge.seen == 2 + 2  # the neutral renderings and the results, to report them
    images, _ = task.neutral(np.array([7, 3]))
    _, potential = task.judge(np.array([7, 3]), torch.from_numpy(found.theta), images)
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


def clone_of(scenes: PreviewSet, theta: np.ndarray, seed: int) -> tuple[Agent, list[float]]:
    env = IspTuningVectorEnv(scenes, reward(), len(scenes), PIPELINE, TASK)
    observations, _ = env.reset(options={"scene": np.arange(len(scenes))})
    torch.manual_seed(seed)
    policy = MultiInputActorCriticPolicy(
        observation_space(len(PIPELINE.parameters), env.attributes, env.features),
        env.single_action_space,
        lr_schedule=lambda _: 0.0,
        **NETWORK.arguments("PPO"),
    )
    settings = CloningSettings(steps=100, batch_size=16, learning_rate=1e-3)
    history = clone(policy, observations, theta, settings, seed)
    card = AgentCard(
        algorithm="PPO",
        parameters=knobs(PIPELINE),
        attributes=env.attributes,
        features=env.features,
        task=TASK,
        policy=NETWORK,
        preview_side=18,
        reward=env.reward.settings,
    )
    return Agent(policy, card), history


def act(agent: Agent, scenes: PreviewSet) -> np.ndarray:
    env = IspTuningVectorEnv(scenes, reward(), len(scenes), PIPELINE, TASK)
    return agent.act(env.reset(options={"scene": np.arange(len(scenes))})[0])


def test_a_clone_does_better_than_neutral_on_scenes_it_has_not_seen(planted, fitted):
    scenes, _ = planted
    agent, history = clone_of(scenes.some(np.arange(TRAINED)), fitted.theta[:TRAINED], seed=0)
    assert len(history) == 100
    assert np.mean(history[-10:]) < 0.5 * np.mean(history[:3])
    unseen = scenes.some(np.arange(TRAINED, COUNT))
    task = JudgedScenes(unseen, reward(), PIPELINE)
    rows = np.arange(len(unseen))
    truth = torch.from_numpy(np.asarray(unseen.truth, np.float32))
    chosen = task.render(rows, torch.from_numpy(act(agent, unseen)))
    before, _ = task.neutral(rows)
    for scene in rows:
        near, now = (fidelity(x[scene], truth[scene])["ciede2000"] for x in (before, chosen))
        assert now < 0.7 * near


def test_the_seed_decides_what_a_clone_learns(planted, fitted):
    scenes = planted[0].some(np.arange(TRAINED))
    (first, history), (again, same) = (clone_of(scenes, fitted.theta[:TRAINED], 1) for _ in "ab")
    assert history == same
    assert np.array_equal(act(first, scenes), act(again, scenes))
