import json
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.controllers.policy import controller, play
from agents.learning.algorithms import AgentSettings, PPOSettings, SACSettings, TD3Settings
from agents.learning.sb3_vec_env import IspTuningVecEnv
from agents.learning.training import Checkpoint, Pace, train
from agents.policies import (
    Agent,
    AgentError,
    PolicySettings,
    load_agent,
    save_agent,
    warn_of_another_judge,
)
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.pipeline import IspPipeline
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.environment import AutoresetMode, IspTuningVectorEnv, TaskSettings
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings

KNOBS = len(DEFAULT_PIPELINE.parameters)
EXPOSURE = [p.name for p in DEFAULT_PIPELINE.parameters].index("exposure")
NETWORK = PolicySettings("test_efficientnet", side=32, hidden=16, critic=(16,), log_std=-1.0)
TINY = PPOSettings(
    steps=160,
    rollout=10,
    batch_size=40,
    epochs=2,
    learning_rate=5e-4,
    policy=NETWORK,
    seed=1,
)
EACH: list[AgentSettings] = [
    TINY,
    *(
        settings(
            steps=160,
            buffer=120,
            learning_starts=40,
            updates=2,
            batch_size=16,
            policy=NETWORK,
            seed=1,
        )
        for settings in (SACSettings, TD3Settings)
    ),
]
each_algorithm = pytest.mark.parametrize("settings", EACH, ids=lambda s: s.algorithm)


def middle_grey(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A judge that likes a mean of 0.5, and sees the means of the channels."""
    means = images.mean((2, 3))
    return -(means.mean(1) - 0.5).abs(), means.repeat(1, 2)[:, :5], means


@pytest.fixture(scope="module")
def scenes() -> PreviewSet:
    rng = np.random.default_rng(0)
    level = np.array([0.01, 0.02, 0.04, 0.06])[:, None, None, None]
    return PreviewSet(
        linear=(level * (0.5 + rng.random((4, 3, 24, 24)))).astype(np.float16),
        noise=np.zeros((4, 3, 2), np.float32),
        as_shot_neutral=np.ones((4, 3), np.float32),
        iso=np.full(4, 100, np.float32),
        truth=np.full((4, 3, 24, 24), 0.5, np.float16),
    )


def task(scenes: PreviewSet, count: int = 4, **options) -> IspTuningVectorEnv:
    settings = RewardSettings(views=("whole",), scale=10.0, theta_weight=2.0)
    reward = QualityReward(middle_grey, settings)
    options.setdefault("autoreset_mode", AutoresetMode.SAME_STEP)
    return IspTuningVectorEnv(scenes, reward, count, **options)


def bandit(scenes: PreviewSet, count: int = 4) -> IspTuningVectorEnv:
    return task(scenes, count, settings=TaskSettings(horizon=1, absolute=True))


def mean_gain(agent: Agent, env: IspTuningVectorEnv) -> float:
    options = {"settings": env.settings, "autoreset_mode": AutoresetMode.DISABLED}
    choices = play(task(env.scenes, len(env.scenes), **options), agent, np.arange(len(env.scenes)))
    return float(np.mean([c["potential"] - c["neutral"]["potential"] for c in choices]))


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    agent = train(task(scenes), TINY, folder)
    save_agent(agent, folder / "agent")
    return agent, folder


def observations(scenes: PreviewSet) -> dict[str, np.ndarray]:
    return task(scenes).reset(options={"scene": np.arange(4)})[0]


@each_algorithm
def test_a_saved_agent_acts_the_same(settings, scenes, tmp_path):
    agent = train(task(scenes), replace(settings, steps=80), tmp_path)
    save_agent(agent, tmp_path / "theta0.5")
    loaded = load_agent(tmp_path / "theta0.5.json", DEFAULT_PIPELINE)
    seen = observations(scenes)
    acted = agent.act(seen)
    assert np.ptp(acted) > 0
    assert loaded.act(seen) == pytest.approx(acted, abs=0.02 * float(np.ptp(acted)))  # 16 bits
    assert loaded.card == agent.card
    assert loaded.card.algorithm == settings.algorithm
    stored = load_file(tmp_path / "theta0.5.safetensors")
    assert {x.dtype for x in stored.values() if x.is_floating_point()} == {torch.float16}
    assert all(p.dtype == torch.float32 for p in agent.policy.parameters())  # still its own
    save_agent(loaded, tmp_path / "again")
    again = (tmp_path / "again.safetensors").read_bytes()
    assert again == (tmp_path / "theta0.5.safetensors").read_bytes()


@each_algorithm
def test_same_seed_same_agent(settings, scenes, tmp_path):
    settings = replace(settings, steps=80)
    once, again = (train(task(scenes), settings, tmp_path / name) for name in ("a", "b"))
    seen = observations(scenes)
    assert np.array_equal(again.act(seen), once.act(seen))


@pytest.mark.parametrize("wanted", [True, False])
def test_scene_baselines_go_with_a_discount_of_0(scenes, tmp_path, monkeypatch, wanted):
    built, build = [], PPOSettings.build

    def kept(self, env, folder, device):
        built.append(build(self, env, folder, device))
        return built[0]

    monkeypatch.setattr(PPOSettings, "build", kept)
    settings = replace(cast(PPOSettings, EACH[0]), steps=80, scene_baselines=wanted)
    train(bandit(scenes), settings, tmp_path)
    assert built[0].gamma == (0 if wanted else 1)
    assert built[0].env.venv.scene_baselines is wanted


@each_algorithm
def test_training_goes_on_from_its_checkpoint(settings, scenes, tmp_path):
    half = train(task(scenes), replace(settings, steps=80), tmp_path)
    model = settings.build(IspTuningVecEnv(task(scenes)), tmp_path, "cpu")
    assert Checkpoint(model, tmp_path).resume() == 80
    seen = observations(scenes)
    assert np.array_equal(model.predict(seen, deterministic=True)[0], half.act(seen))
    train(task(scenes), settings, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["steps"] == 160


def test_a_run_under_other_settings_is_not_gone_on_with(scenes, tmp_path):
    settings = replace(EACH[0], steps=80)
    train(task(scenes), settings, tmp_path, origin="one judge")
    for other, origin in ((replace(settings, seed=2), "one judge"), (settings, "another judge")):
        with pytest.raises(AgentError, match=r"begun with another (training|origin)"):
            train(task(scenes), other, tmp_path, origin=origin)


def test_a_resumed_replay_memory_is_the_one_that_was_saved(scenes, tmp_path):
    settings = cast(SACSettings, EACH[1])
    train(task(scenes), settings, tmp_path)  # 160 transitions: more than the 120 that fit
    model = settings.build(IspTuningVecEnv(task(scenes)), tmp_path, "cpu")
    Checkpoint(model, tmp_path).resume()
    memory = cast(OffPolicyAlgorithm, model).replay_buffer
    assert memory is not None
    assert memory.full
    assert memory.pos == 40 % 30  # 40 steps of four scenes in a ring of 30
    with np.load(tmp_path / "memory.npz") as arrays:
        assert np.array_equal(memory.rewards, arrays["rewards"])
        assert np.array_equal(memory.observations["image"], arrays["now image"])
    assert memory.rewards.std() > 0


@pytest.mark.parametrize("settings", EACH[1:], ids=lambda s: s.algorithm)
def test_exploration_stays_about_the_policy_from_the_first_step(settings, scenes, tmp_path):
    quiet = replace(settings, policy=replace(NETWORK, log_std=-3.0), learning_starts=100)
    if isinstance(quiet, TD3Settings):
        quiet = replace(quiet, noise=0.05)
    train(bandit(scenes), replace(quiet, steps=80), tmp_path)
    with np.load(tmp_path / "memory.npz") as arrays:
        actions = arrays["actions"]
    assert len(actions) == 20
    spread = actions.std((0, 1)).mean()  # of each knob; scenes are much alike
    assert 0.03 < spread < 0.3  # those of all of [-1, 1] have 0.58


def test_evaluations_are_recorded_while_training(scenes, tmp_path):
    def evaluation(agent: Agent) -> dict[str, float]:
        return {"action": float(agent.act(observations(scenes)).mean())}

    train(task(scenes), TINY, tmp_path, evaluation=evaluation, pace=Pace(80, 80))
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [80, 160]
    assert rows[0]["action"] != rows[1]["action"]


@pytest.mark.slow
def test_ppo_learns_to_brighten_dark_scenes(scenes, tmp_path):
    settings = PPOSettings(
        steps=3200,
        rollout=10,
        batch_size=80,
        epochs=6,
        learning_rate=1e-3,
        target_kl=0.2,
        policy=NETWORK,
    )
    env = bandit(scenes, 16)
    assert mean_gain(train(env, settings, tmp_path), env) > 0.4


def test_play_returns_the_best_rendering_and_never_less_than_neutral(trained, scenes):
    env = task(scenes, autoreset_mode=AutoresetMode.DISABLED)
    choices = play(env, trained[0], np.arange(4))
    for scene, choice in enumerate(choices):
        assert choice["potential"] >= choice["neutral"]["potential"]
        assert 1 <= choice["renders"] <= env.settings.horizon
        theta = torch.from_numpy(choice["theta"])[None]
        linear, noise = scenes.images(np.array([scene]), "cpu")
        image = DEFAULT_PIPELINE(linear, theta, noise)
        untouched = torch.zeros_like(theta)
        neutral = DEFAULT_PIPELINE(linear, untouched, noise)
        shot = env.reward.reference(neutral, neutral, untouched)
        value = env.reward(image, shot, theta).value.item()
        assert value == pytest.approx(choice["potential"], abs=1e-5)


class Scripted(Agent):
    """Darkens at every step, and stops at the third."""

    def act(self, observation):
        actions = np.zeros((len(observation["vector"]), KNOBS + 1), np.float32)
        actions[:, EXPOSURE] = -0.5
        actions[:, -1] = np.where(observation["vector"][:, KNOBS] > 0.3, 1.0, -1.0)
        return actions


def test_play_keeps_the_neutral_rendering_where_the_agent_does_harm(trained, scenes):
    env = task(scenes, autoreset_mode=AutoresetMode.DISABLED)
    for choice in play(env, Scripted(trained[0].policy, trained[0].card), np.arange(4)):
        assert (choice["theta"] == 0).all()
        assert choice["potential"] == choice["neutral"]["potential"]
        assert choice["renders"] == 2  # a stop renders nothing


def test_vec_env_hands_out_terminal_observations(scenes):
    env = IspTuningVecEnv(task(scenes, 2, settings=TaskSettings(horizon=1, step_size=0.5)))
    env.seed(0)
    env.reset()
    action = np.full((2, env.action_space.shape[0]), 0.1, np.float32)  # type: ignore[index]
    observation, _, dones, infos = env.step(action)
    assert dones.all()
    for row, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is False
        theta = info["terminal_observation"]["vector"][:13]
        assert theta == pytest.approx(0.05)  # half a step of 0.1
        now = cast(dict[str, np.ndarray], observation)
        assert (now["vector"][row][: len(DEFAULT_PIPELINE.parameters)] == 0).all()


def test_agents_for_other_knobs_are_refused(trained):
    _, folder = trained
    fewer = IspPipeline(DEFAULT_PIPELINE.stages[:3])
    with pytest.raises(AgentError, match="trained for other knobs"):
        load_agent(folder / "agent.json", fewer)


def test_an_agent_is_judged_from_the_anchors_of_the_scenes(trained, scenes):
    """What it is said to be worth is what its picture is worth."""
    knobs = len(DEFAULT_PIPELINE.parameters)
    anchors = np.full((len(scenes), knobs), 0.3, np.float32)
    judged = JudgedScenes(scenes, QualityReward(middle_grey), anchors=anchors)
    rows = np.arange(2)
    found = controller(trained[0])(judged, rows)
    _, potential = judged.judge(rows, torch.from_numpy(found.theta))
    assert found.value == pytest.approx(potential.value.numpy(), abs=1e-4)


def test_a_judge_that_tells_other_things_is_refused(trained, scenes):
    agent, _ = trained

    def terse(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return middle_grey(images)[:2]

    judged = JudgedScenes(scenes, QualityReward(terse))
    with pytest.raises(AgentError, match=r"'features': 3.*this one has .*'features': 0"):
        controller(agent)(judged, np.arange(2))


def test_another_judge_than_the_one_that_paid_is_named(trained, caplog):
    card = replace(trained[0].card, judge="attiqa-mini 0123456789abcdef")
    warn_of_another_judge(card, "0123456789abcdef" + 48 * "0")
    warn_of_another_judge(replace(card, judge=""), "f" * 64)  # it does not say
    assert not caplog.records
    warn_of_another_judge(card, "f" * 64)
    assert (
        "trained by attiqa-mini 0123456789abcdef; the judge now is ffffffffffffffff" in caplog.text
    )


def test_damaged_files_are_named(trained, tmp_path):
    _, folder = trained
    with pytest.raises(AgentError, match=r"nothing\.json: no readable agent card"):
        load_agent(tmp_path / "nothing.json", DEFAULT_PIPELINE)
    card = json.loads((folder / "agent.json").read_text())
    (tmp_path / "agent.json").write_text(json.dumps(card))
    (tmp_path / "agent.safetensors").write_bytes(b"not weights")
    with pytest.raises(AgentError, match=r"agent\.safetensors: not the weights"):
        load_agent(tmp_path / "agent.json", DEFAULT_PIPELINE)
    (tmp_path / "agent.json").write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(AgentError, match="card format 99"):
        load_agent(tmp_path / "agent.json", DEFAULT_PIPELINE)
    (tmp_path / "agent.json").write_text(json.dumps(card | {"algorithm": "DQN"}))
    with pytest.raises(AgentError, match="algorithm DQN"):
        load_agent(tmp_path / "agent.json", DEFAULT_PIPELINE)
