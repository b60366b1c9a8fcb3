"""An agent and its judge as a chooser of parameters for a batch, made in the worker."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float32

from agents.controllers.policy import controller
from agents.controllers.prior import prior_control, prior_thetas
from agents.controllers.search import refined
from agents.policies import (
    Agent,
    AgentCard,
    agent_files,
    load_agent,
    load_prior,
    warn_of_another_judge,
)
from attiqa.errors import AttiqaError
from attiqa.model.cards import read_card
from attiqa.model.sources import weight_file
from isp_env.batch.manifest import recipe_hash, sha256
from isp_env.batch.render_job import Choice
from isp_env.errors import IspEnvError
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import Parameter, to_theta, to_values
from isp_env.raw import RawImage
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward

REFINE = 0
"""Gradient steps from the agent's choice unless told otherwise: they do not improve on it yet."""


NOTHING_KEPT: Mapping[str, float] = MappingProxyType({})


class ChoiceError(IspEnvError):
    """No parameters can be chosen: for a picture, or as it is asked for."""


@dataclass(frozen=True)
class AgentChooser:
    """Chooses as an agent and its judge do; small to pickle.

    Attributes:
        agent: What `load_agent` takes.
        judge: What `load_model` takes.
        refine: Gradient steps from the agent's choice.
        strength: Factor of the chosen theta, 0 to 1: 0 is neutral.
        kept: Names of the knobs that are not chosen.
        identity: Says what chooses and how, the files by their content.
    """

    agent: str
    judge: str
    refine: int
    strength: float
    kept: tuple[str, ...]
    identity: str

    @classmethod
    def of(
        cls,
        agent: str,
        judge: str = "embedded",
        refine: int = REFINE,
        strength: float = 1.0,
        keep: Sequence[str] = (),
    ) -> "AgentChooser":
        """Return a chooser whose identity changes with the files and the settings.

        Args:
            agent: What `load_agent` takes.
            judge: What `load_model` takes.
            refine: Gradient steps from the agent's choice.
            strength: Factor of the chosen theta, 0 to 1.
            keep: Knobs and stages (`IspPipeline.knobs_named`) that the agent is to leave alone.

        Raises:
            AgentError: The agent's files are missing or damaged.
            ChoiceError: A strength outside 0..1, or a name that no knob and no stage has.
        """
        if not 0 <= strength <= 1:
            raise ChoiceError(f"strength {strength:g}: expected a number from 0 to 1")
        try:
            kept = DEFAULT_PIPELINE.knobs_named(keep)
        except ValueError as error:
            raise ChoiceError(f"keep: {error}") from error
        card = load_agent(agent, DEFAULT_PIPELINE).card
        model = read_card(weight_file(judge).with_suffix(".json"))
        warn_of_another_judge(card, model.sha256)
        weights = [sha256(agent_files(each)[1]) for each in (agent, *_priors(card))]
        content = {"agent": f"{card} {weights}", "judge": str(model.sha256), "refine": refine}
        content |= {"strength": strength, "kept": kept}
        identity = f"agent {agent}, {recipe_hash(content)[:16]}"
        return cls(agent, judge, refine, strength, kept, identity)

    def __call__(self, raw: RawImage, given: Mapping[str, float]) -> Choice:
        """Choose physical values of the agent's parameters, without those that are kept.

        Args:
            raw: Sensor data.
            given: Values that the other layers set; those of kept knobs are seen while choosing.

        Raises:
            ChoiceError: The judge cannot look at such a picture: it is too small or too long.
        """
        agent, prior = _load(self.agent)
        reward = partial(_reward, self.agent, self.judge)
        knobs = DEFAULT_PIPELINE.only(agent.card.knobs).parameters
        kept = {p.name: given.get(p.name, p.neutral) for p in knobs if p.name in self.kept}
        try:
            theta, renders = choose(raw, agent, prior, reward, self.refine, kept)
        except AttiqaError as error:
            raise ChoiceError(f"the agent's judge refuses the preview: {error}") from error
        values = to_values(knobs, self.strength * torch.from_numpy(theta))
        chosen = {name: value.item() for name, value in values.items() if name not in kept}
        return Choice(chosen, renders, self.strength, self.kept)


def choose(
    raw: RawImage,
    agent: Agent,
    prior: Agent | None,
    reward: Callable[[], QualityReward],
    refine: int = REFINE,
    kept: Mapping[str, float] = NOTHING_KEPT,
) -> tuple[Float32[np.ndarray, "1 d"], int]:
    """Let an agent choose theta for one photograph on its preview, and count its renders.

    The best by the potential counts, the neutral rendering included; but a prior that is neither
    refined nor held back is not asked what the reward says of its choice.

    Args:
        raw: Sensor data.
        agent: Plays an episode of its task.
        prior: Its choice anchors the reward; None anchors it to neutral. Where it is the agent, it
            chooses without the reward, whose word then counts for the refinement alone.
        reward: Makes what judges the renderings; not called where nothing is judged.
        refine: Steps of gradient ascent from there, a render each.
        kept: Physical values of knobs that stay. The agent looks at pictures that have them
            neutral, and its choice for them is dropped; the refinement, and the choice of the
            best picture, look at pictures that have these values.
    """
    scene = PreviewSet.of([raw], agent.card.preview_side)
    pipeline = DEFAULT_PIPELINE.only(agent.card.knobs)
    held = held_columns(pipeline.parameters, kept)
    anchors = None
    if prior is not None:
        anchors = prior_thetas(prior, scene, pipeline)
        anchors[:, list(held)] = list(held.values())
        if agent is prior and not refine and not kept:
            return anchors, agent.card.task.horizon
    judged = JudgedScenes(scene, reward(), pipeline, anchors=anchors)
    control = prior_control(agent) if agent is prior else controller(agent)
    if refine or kept:
        control = refined(control, [agent.card.task.horizon + refine], held=held)
    found = control(judged, np.zeros(1, np.int64))
    return found.theta, int(found.renders[0])


def held_columns(knobs: Sequence[Parameter], kept: Mapping[str, float]) -> dict[int, float]:
    """Map the columns of theta of kept knobs, with the theta of their values."""
    theta = to_theta(knobs, kept)[0].tolist()
    return {column: theta[column] for column, p in enumerate(knobs) if p.name in kept}


def _priors(card: AgentCard) -> tuple[str, ...]:
    """Name an agent's prior as `load_prior` takes it; nothing where it has none or is one."""
    return (card.prior.split(" ")[0],) if card.prior else ()


@cache
def _load(agent: str) -> tuple[Agent, Agent | None]:
    loaded = load_agent(agent, DEFAULT_PIPELINE)
    names = _priors(loaded.card)
    prior = load_prior(names[0]) if names else None
    if loaded.card.algorithm == "supervised":
        prior = loaded
    return loaded, prior


@cache
def _reward(agent: str, judge: str) -> QualityReward:
    from attiqa.model.quality_model import load_model  # slow to import, and seldom needed

    return QualityReward(load_model(judge).for_reward(), _load(agent)[0].card.reward)
