"""Episodes played by a trained agent."""

from typing import Any

import numpy as np
from jaxtyping import Int

from agents.controllers.base import Controller, Found
from agents.policies import Agent, AgentError
from isp_env.task.environment import AutoresetMode, IspTuningVectorEnv
from isp_env.task.judged_scenes import JudgedScenes


def play(env: IspTuningVectorEnv, agent: Agent, scene: np.ndarray) -> list[dict[str, Any]]:
    """One episode of each scene; what was best on the way counts, the neutral rendering included.

    Choosing by the potential uses nothing but what the agent sees: no truth is involved.

    Args:
        env: With as many environments as `scene` has rows and `AutoresetMode.DISABLED`.
        agent: The policy.
        scene: Rows of the preview set.

    Returns:
        For each scene: theta, parameters, score, attributes, potential of the best rendering;
        the same of the neutral rendering under `neutral`; and the number of `renders`.
    """
    observation, info = env.reset(options={"scene": scene})
    neutral = [_row(info, i) for i in range(len(scene))]
    best, renders = list(neutral), np.zeros(len(scene), int)
    active = np.ones(len(scene), bool)
    while active.any():
        before = info["theta"]
        observation, _, terminated, _, info = env.step(agent.act(observation))
        renders += active & (info["theta"] != before).any(1)  # a stop renders nothing new
        for i in np.flatnonzero(active):
            if info["potential"][i] > best[i]["potential"]:
                best[i] = _row(info, int(i))
        active &= ~terminated
    return [
        row | {"neutral": start, "renders": int(count)}
        for row, start, count in zip(best, neutral, renders, strict=True)
    ]


def controller(agent: Agent) -> Controller:
    """Return an agent as one of the controls that it is compared with.

    The control raises `AgentError` where the judge tells other things than the agent reads.
    """

    def control(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
        env = IspTuningVectorEnv(
            judged.scenes,
            judged.reward,
            len(rows),
            judged.pipeline,
            agent.card.task,
            AutoresetMode.DISABLED,
            judged.device,
            judged.anchors,
        )
        seen = {"attributes": env.attributes, "features": env.features}
        known = {"attributes": agent.card.attributes, "features": agent.card.features}
        if seen != known:
            raise AgentError(f"the agent was trained with a judge of {known}, this one has {seen}")
        choices = play(env, agent, rows)
        theta, value, score, renders = (
            np.array([choice[key] for choice in choices])
            for key in ("theta", "potential", "score", "renders")
        )
        return Found(theta.astype(np.float32), value, score, renders)

    return control


def _row(info: dict[str, Any], row: int) -> dict[str, Any]:
    keys = ("theta", "score", "attributes", "potential", "clipping", "chroma")
    parameters = {name: float(value[row]) for name, value in info["parameters"].items()}
    return {key: info[key][row].copy() for key in keys} | {"parameters": parameters}
