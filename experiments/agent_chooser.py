"""An agent and its judge as a chooser of parameters for a batch, made in the worker."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from agents.controls import Found
from agents.playing import controller
from agents.policies import Agent, agent_files, load_agent, warn_of_another_judge
from agents.search import refined
from attiqa.errors import AttiqaError
from attiqa.scoring import load_model
from isp_env.errors import IspEnvError
from isp_env.judged import JudgedScenes
from isp_env.manifest import recipe_hash, sha256
from isp_env.parameters import to_values
from isp_env.pipeline import DEFAULT_PIPELINE
from isp_env.previews import PreviewSet
from isp_env.raw import RawImage
from isp_env.render_job import Choice
from isp_env.rewards import QualityReward

REFINE = 4
"""Gradient steps from the agent's choice unless told otherwise: five renders with its own."""


class ChoiceError(IspEnvError):
    """No parameters can be chosen for a picture."""


@dataclass(frozen=True)
class AgentChooser:
    """Chooses as an agent and its judge do; small to pickle.

    Attributes:
        agent: What `load_agent` takes.
        judge: What `load_model` takes.
        refine: Gradient steps from the agent's choice.
        identity: Says which agent, judge and steps these are, by their content.
    """

    agent: str
    judge: str
    refine: int
    identity: str

    @classmethod
    def of(cls, agent: str, judge: str = "embedded", refine: int = REFINE) -> "AgentChooser":
        """A chooser whose identity changes with the files.

        Raises:
            AgentError: The agent's files are missing or damaged.
        """
        card, model = load_agent(agent, DEFAULT_PIPELINE).card, load_model(judge).card
        warn_of_another_judge(card, model.sha256)
        weights = sha256(agent_files(agent)[1])
        content = {"agent": f"{card} {weights}", "judge": str(model.sha256), "refine": refine}
        return cls(agent, judge, refine, f"agent {agent}, {recipe_hash(content)[:16]}")

    def __call__(self, raw: RawImage) -> Choice:
        """Physical values of the parameters that the agent moves.

        Raises:
            ChoiceError: The judge cannot look at such a picture: it is too small or too long.
        """
        agent, reward = _load(self.agent, self.judge)
        try:
            found = choose(raw, agent, reward, self.refine)
        except AttiqaError as error:
            raise ChoiceError(f"the agent's judge refuses the preview: {error}") from error
        knobs = DEFAULT_PIPELINE.only(agent.card.knobs).parameters
        values = to_values(knobs, torch.from_numpy(found.theta))
        chosen = {name: value.item() for name, value in values.items()}
        return Choice(chosen, int(found.renders[0]))


def choose(raw: RawImage, agent: Agent, reward: QualityReward, refine: int = REFINE) -> Found:
    """Let an agent choose theta for one photograph on its preview; one row, of its own knobs.

    The best by the potential counts, the neutral rendering included.

    Args:
        raw: Sensor data.
        agent: Plays an episode of its task.
        reward: Judges the renderings.
        refine: Steps of gradient ascent from there, a render each.
    """
    scene = PreviewSet.of([raw], agent.card.preview_side)
    judged = JudgedScenes(scene, reward, DEFAULT_PIPELINE.only(agent.card.knobs))
    control = controller(agent)
    if refine:
        control = refined(control, [agent.card.task.horizon + refine])
    return control(judged, np.zeros(1, np.int64))


@cache
def _load(agent: str, judge: str) -> tuple[Agent, QualityReward]:
    loaded = load_agent(agent, DEFAULT_PIPELINE)
    return loaded, QualityReward(load_model(judge).for_reward(), loaded.card.reward)
