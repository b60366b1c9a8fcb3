"""A supervised policy as a control: it needs no reward, and anchors the reward of others."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, Int

from agents.controllers.base import Controller, Found, chosen
from agents.policies import Agent
from agents.policies.looks import choices
from isp_env.isp.pipeline import IspPipeline
from isp_env.scenes.preview_set import PreviewSet, shots_of
from isp_env.task.judged_scenes import JudgedScenes

AT_ONCE = 16


def prior_thetas(
    prior: Agent,
    scenes: PreviewSet,
    pipeline: IspPipeline,
    rows: Int[np.ndarray, " n"] | None = None,
    device: str | torch.device = "cpu",
) -> Float32[np.ndarray, "n d"]:
    """Return a prior's theta for scenes (all of them if no rows are given).

    The prior looks as often as the episodes of its card are long.

    Args:
        prior: A policy whose actions are theta itself.
        scenes: Previews.
        pipeline: The ISP; theta has its knobs, in its order.
        rows: Scenes.
        device: Where the pictures are rendered; the policy's own.
    """
    rows = np.arange(len(scenes)) if rows is None else rows
    own = replace(pipeline, knobs=None).only(prior.card.knobs)
    parts = [
        choices(prior, own, shots_of(scenes, part, device))
        for part in np.split(rows, range(AT_ONCE, len(rows), AT_ONCE))
    ]
    theta = torch.cat(parts).cpu().numpy()
    columns = [p.name for p in pipeline.parameters]
    result = np.zeros((len(rows), len(columns)), np.float32)
    for column, knob in enumerate(prior.card.knobs):
        if knob in columns:
            result[:, columns.index(knob)] = theta[:, column]
    return result


def prior_control(prior: Agent) -> Controller:
    """Make a prior a control: its last look counts, whatever the reward says of it."""

    def control(judged: JudgedScenes, rows: Int[np.ndarray, " n"]) -> Found:
        theta = prior_thetas(prior, judged.scenes, judged.pipeline, rows, judged.device)
        return chosen(judged, rows, theta, renders=prior.card.task.horizon)

    return control
