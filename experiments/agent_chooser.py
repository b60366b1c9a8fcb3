"""An agent and its judge as a chooser of parameters for `isp_env.rendering`, made in the worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from agents.playing import play
from agents.policies import Agent, load_agent
from attiqa.scoring import load_model
from isp_env.environment import AutoresetMode, IspTuningVectorEnv
from isp_env.manifest import recipe_hash
from isp_env.pipeline import DEFAULT_PIPELINE
from isp_env.previews import PreviewSet
from isp_env.raw import RawImage
from isp_env.rewards import QualityReward


@dataclass(frozen=True)
class AgentChooser:
    """Chooses as `experiments/enhance.py` does; small to pickle.

    Attributes:
        agent: What `load_agent` takes.
        judge: What `load_model` takes.
        identity: Says which agent and judge these are, by their content.
    """

    agent: str
    judge: str
    identity: str

    @classmethod
    def of(cls, agent: str, judge: str = "embedded") -> "AgentChooser":
        """A chooser whose identity changes with the files.

        Raises:
            AgentError: The agent's files are missing or damaged.
        """
        card, model = load_agent(agent, DEFAULT_PIPELINE).card, load_model(judge).card
        content = {"agent": str(card), "judge": str(model.sha256)}
        return cls(agent, judge, f"agent {agent}, {recipe_hash(content)[:16]}")

    def __call__(self, raw: RawImage) -> Mapping[str, float]:
        """Physical values of the parameters that the agent moves."""
        agent, reward = _load(self.agent, self.judge)
        env = IspTuningVectorEnv(
            PreviewSet.of([raw], agent.card.preview_side),
            reward,
            pipeline=DEFAULT_PIPELINE.only(agent.card.knobs),
            settings=agent.card.task,
            autoreset_mode=AutoresetMode.DISABLED,
        )
        return play(env, agent, np.zeros(1, np.int64))[0]["parameters"]


@cache
def _load(agent: str, judge: str) -> tuple[Agent, QualityReward]:
    loaded = load_agent(agent, DEFAULT_PIPELINE)
    return loaded, QualityReward(load_model(judge).perceive, loaded.card.reward)
