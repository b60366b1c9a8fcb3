"""How good an agent is on scenes whose truth is known."""

from typing import Any

import numpy as np
import torch

from agents.playing import play
from agents.policies import Agent
from isp_env.environment import AutoresetMode, IspTuningVectorEnv
from isp_env.fidelity import fidelity
from isp_env.previews import PreviewSet
from isp_env.rewards import QualityReward

BATCH = 25  # scenes played at once


def evaluate(
    agent: Agent, scenes: PreviewSet, reward: QualityReward, device: str | torch.device = "cpu"
) -> dict[str, Any]:
    """Play every scene once and compare with the neutral rendering.

    Returns:
        Means over the scenes, each as {"neutral", "agent"}: `score`, `potential` and, where the
        truths are known, `psnr`, `ssim`, `ciede2000`; the mean number of `renders`, the number of
        `scenes`, and `win_rate`: the share of scenes nearer to the truth by CIEDE2000.
    """
    rows: list[dict[str, Any]] = []
    for batch in np.split(np.arange(len(scenes)), range(BATCH, len(scenes), BATCH)):
        env = IspTuningVectorEnv(
            scenes,
            reward,
            len(batch),
            settings=agent.card.task,
            autoreset_mode=AutoresetMode.DISABLED,
            device=device,
        )
        choices = play(env, agent, batch)
        thetas = torch.from_numpy(np.stack([choice["theta"] for choice in choices])).to(device)
        linear, noise = scenes.images(batch, device)
        with torch.inference_mode():
            before = env.pipeline(linear, torch.zeros_like(thetas), noise).cpu()
            after = env.pipeline(linear, thetas, noise).cpu()
        for number, choice in enumerate(choices):
            row = {"renders": choice["renders"]}
            for key in ("score", "potential"):
                row[key] = (float(choice["neutral"][key]), float(choice[key]))
            if scenes.truth is not None:
                truth = torch.from_numpy(scenes.truth[batch[number]].astype(np.float32))
                near, now = fidelity(before[number], truth), fidelity(after[number], truth)
                row |= {key: (near[key], now[key]) for key in near}
            rows.append(row)
    result: dict[str, Any] = {
        key: dict(zip(("neutral", "agent"), np.mean([r[key] for r in rows], axis=0), strict=True))
        for key in rows[0]
        if key != "renders"
    }
    if scenes.truth is not None:
        result["win_rate"] = float(np.mean([r["ciede2000"][1] < r["ciede2000"][0] for r in rows]))
    renders = float(np.mean([r["renders"] for r in rows]))
    return result | {"renders": renders, "scenes": len(rows)}
