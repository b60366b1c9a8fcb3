"""Behaviour cloning, a control: the same network, taught the theta nearest to each known truth.

    python experiments/clone_agent.py --scenes runs/scenes/training
    python experiments/evaluate_agents.py ... --agents ... --cloned runs/clone_agent/agent.json

No reward is involved: what an agent of `train_agent.py` does better, by the reward, its training by
the reward has taught it; what the clone does better, by the measures that know the truth, is what
the reward does not know. The nearest theta are found by Adam through the ISP and kept, a few scenes
at a time: an interrupted run goes on.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import tyro
from rich.logging import RichHandler
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import set_random_seed

from agents.algorithms import PPOSettings
from agents.cloning import CloningSettings, clone, fit_truth
from agents.policies import Agent, PolicySettings, save_agent
from agents.training import describe
from agents.vec_env import IspTuningVecEnv
from attiqa.model_sources import JUDGE
from attiqa.scoring import load_model
from attiqa.versions import versions
from experiments.kept_findings import Contender, KeptFindings
from isp_env.environment import AutoresetMode, IspTuningVectorEnv, TaskSettings
from isp_env.judged import JudgedScenes
from isp_env.preview_store import PreviewStore
from isp_env.rewards import QualityReward

TASK = TaskSettings(horizon=1, absolute=True)


@dataclass(frozen=True)
class Settings:
    """Clone the theta that comes nearest to the truth."""

    scenes: Path
    """Store of training scenes with truths."""
    out: Path = Path("runs/clone_agent")
    """What was found, and the agent."""
    count: int = 400
    """So many of the scenes, the first ones."""
    fit_steps: int = 60
    """Renders of each scene on the way to its nearest theta."""
    cloning: CloningSettings = field(default_factory=CloningSettings)
    """Of the regression."""
    policy: PolicySettings = field(default_factory=PolicySettings)
    """The network: an agent's."""
    judge: str = JUDGE
    """The quality model whose features the policy sees, as an agent does."""
    seed: int = 0
    """Of the network and of the regression."""
    device: str = "cpu"
    """"cpu" or "cuda"."""


def main(settings: Settings) -> None:
    """Fit, regress, write."""
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[RichHandler()])
    store = PreviewStore.open(settings.scenes)
    rows = np.arange(min(settings.count, len(store.scenes)))
    scenes = store.previews().some(rows)
    judge = load_model(settings.judge, settings.device)
    reward = QualityReward(judge.perceive)
    env = IspTuningVectorEnv(
        scenes,
        reward,
        len(rows),
        settings=TASK,
        autoreset_mode=AutoresetMode.DISABLED,
        device=settings.device,
    )
    judged = JudgedScenes(scenes, reward, env.pipeline, settings.device)
    said = [store.sha256(), judge.card.sha256]
    identity = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
    kept = KeptFindings(settings.out / "found", identity)
    steps = settings.fit_steps
    contender = Contender("nearest to the truth", fit_truth(steps), len(rows), str(steps))
    named, _ = kept.run(contender, judged)
    theta = named[contender.name].theta

    set_random_seed(settings.seed)
    network = PPOSettings(
        rollout=1, batch_size=len(rows), policy=settings.policy, seed=settings.seed
    )
    policy = network.build(IspTuningVecEnv(env), settings.out, settings.device).policy
    observation, _ = env.reset(options={"scene": rows})
    errors = clone(
        cast(ActorCriticPolicy, policy), observation, theta, settings.cloning, settings.seed
    )
    cloning = {"cloned": asdict(settings.cloning), "renders": steps, "scenes": len(rows)}
    record = {"settings": cloning | {"seed": settings.seed}, "error": float(np.mean(errors[-100:]))}
    card = replace(
        describe(env, network),
        judge=f"{judge.card.name} {str(judge.card.sha256)[:16]}",
        training=json.loads(json.dumps(record)) | {"versions": versions()},
    )
    save_agent(Agent(policy, card), settings.out / "agent")
    logging.info("mean squared error in theta, last steps: %.4f", record["error"])


if __name__ == "__main__":
    main(tyro.cli(Settings))
