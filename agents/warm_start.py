"""A policy's first lesson: climb the potential through the differentiable ISP.

Exploring a dozen knobs by trial takes many renders. ISP and judge are differentiable, so the
gradient of phi with respect to theta, and through it to the policy's weights, is known exactly; the
reinforcement learner then starts from there.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy, ContinuousCritic
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from agents.policies import action_values, actor, mean_action, sync_targets
from isp_env.environment import IspTuningVectorEnv, aim
from isp_env.files import atomic_path

log = logging.getLogger(__name__)

LOG_EVERY = 20
CHECKPOINT_EVERY = 50
STOP = 0.5  # the stop action that is aimed at, and its negative where the episode should go on
AROUND = 0.08  # standard deviation, about the mean action, of those that a Q function learns from


@dataclass(frozen=True)
class WarmStartSettings:
    """Gradient ascent of the mean action before reinforcement learning.

    Attributes:
        iterations: Gradient steps; 0 leaves the policy as it is, as after a supervised prior.
        single: The first iterations practise the first step of an episode only, which matters most;
            the others all of its steps.
        batch_size: Scenes of a gradient step.
        learning_rate: Adam's, falling to zero along a cosine.
        weight_decay: Decoupled weight decay.
    """

    iterations: int = 0
    single: int = 0
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2


def warm_start(
    policy: BasePolicy,
    env: IspTuningVectorEnv,
    settings: WarmStartSettings,
    seed: int,
    checkpoint: Path,
) -> list[float]:
    """Raise the potential that each of the policy's mean actions reaches.

    Every step of an episode climbs by itself, from where the steps before have led; the sum of
    their rewards is what is raised, with the later steps' dependence on the earlier left out. The
    stop is taught where a step did not pay. A critic of states learns the returns; one of actions
    learns returns and their slope by the action, at actions about the mean one (Czarnecki et al.,
    "Sobolev training for neural networks", NeurIPS 2017): otherwise it would lead a started actor
    astray before it knows anything.

    Args:
        policy: Changed in place.
        env: The task; its scenes are trained on.
        settings: Length and speed.
        seed: Of the draw of scenes; iteration i depends on (seed, i) alone.
        checkpoint: Written every few iterations; an interrupted start goes on from it.

    Returns:
        The mean gain in potential over neutral at each iteration of this call.
    """
    practice = IspTuningVectorEnv(
        env.scenes,
        env.reward,
        settings.batch_size,
        env.pipeline,
        env.settings,
        env.metadata["autoreset_mode"].DISABLED,
        env.device,
        env.judged.anchors,
    )
    optimizer = torch.optim.AdamW(
        policy.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(settings.iterations, 1))
    state = {"policy": policy, "optimizer": optimizer, "rate": rate}
    done = _resume(checkpoint, state, settings)
    history: list[float] = []
    policy.set_training_mode(True)
    for iteration in track(range(done, settings.iterations), "warm start"):
        draw = np.random.default_rng((seed, iteration))
        rows = draw.choice(len(env.scenes), settings.batch_size)
        steps = 1 if iteration < settings.single else env.settings.horizon
        optimizer.zero_grad()
        history.append(_practise(policy, practice, rows, steps, draw))
        chooses = {id(parameter) for parameter in actor(policy).parameters()}
        for judges in (False, True):  # what one errs by must not slow the other
            part = [p for p in policy.parameters() if (id(p) not in chooses) == judges]
            clip_grad_norm_(part, 1.0)
        optimizer.step()
        rate.step()
        if len(history) % LOG_EVERY == 0:
            mean = np.mean(history[-LOG_EVERY:])
            log.info("warm start, step %d: %+.3f", iteration + 1, mean)
        if (iteration + 1) % CHECKPOINT_EVERY == 0:
            _save(checkpoint, state, settings, iteration + 1)
    policy.set_training_mode(False)
    sync_targets(policy)
    return history


def _practise(
    policy: BasePolicy,
    env: IspTuningVectorEnv,
    rows: np.ndarray,
    steps: int,
    random: np.random.Generator,
) -> float:
    """Play the first steps of episodes and add up gradients; returns the mean gain at their end."""
    judged = env.judged
    observation, info = env.reset(options={"scene": rows})
    potentials = [torch.from_numpy(info["potential"]).to(env.device)]
    observations, lessons = [], []
    critic = action_values(policy)
    for step in range(steps):
        seen, _ = policy.obs_to_tensor(observation)
        observations.append(seen)
        action = mean_action(policy, seen)
        if critic is not None:
            noise = random.normal(0, AROUND, action.shape).astype(np.float32)
            action = action + torch.from_numpy(noise).to(action)
        theta, beyond = _move(env, torch.from_numpy(info["theta"]).to(env.device), action)
        reached, slope = judged.gradient(rows, theta)
        loss = beyond.square().sum() - (theta * slope).sum()
        if not env.settings.absolute:
            target = torch.where(reached.value > potentials[-1], -STOP, STOP)
            loss = loss + functional.mse_loss(action[:, judged.knobs], target, reduction="sum")
        if critic is not None:
            (pull,) = torch.autograd.grad((theta * slope).sum(), action, retain_graph=True)
            lessons.append((action.detach(), pull))
        (loss / (len(rows) * steps)).backward()
        potentials.append(reached.value)
        if step + 1 < steps:
            played = action.detach().cpu().numpy()
            played[:, judged.knobs :] = -1  # goes on
            observation, _, _, _, info = env.step(played)
    if isinstance(policy, ActorCriticPolicy):
        for seen, potential in zip(observations, potentials, strict=False):
            expected = policy.predict_values(seen)[:, 0]
            loss = functional.mse_loss(expected, potentials[-1] - potential)
            (loss / steps).backward()
    if critic is not None:
        for seen, (action, pull), potential in zip(observations, lessons, potentials, strict=False):
            loss = _lesson(critic, seen, action, potentials[-1] - potential, pull)
            (loss / steps).backward()
    return (potentials[-1] - potentials[0]).mean().item()


def _lesson(
    critic: ContinuousCritic,
    seen: Any,
    action: Float[Tensor, "n k"],
    value: Float[Tensor, " n"],
    slope: Float[Tensor, "n k"],
) -> Tensor:
    """What a critic of actions, two networks mostly, gets wrong in value and in slope."""
    action = action.clamp(-1, 1).requires_grad_()
    loss = value.new_zeros(())
    for expected in critic(seen, action):
        (own,) = torch.autograd.grad(expected.sum(), action, create_graph=True)
        loss = loss + functional.mse_loss(expected[:, 0], value) + functional.mse_loss(own, slope)
    return loss


def _move(
    env: IspTuningVectorEnv, theta: Float[Tensor, "n d"], action: Float[Tensor, "n k"]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Where an action leads, and how far beyond [-1, 1] it is itself.

    The slope passes the bounds: a policy that aims beyond them can still come back.
    """
    played = action + (action.clamp(-1, 1) - action).detach()
    there = aim(theta, played, env.settings)
    beyond = (action[:, : theta.shape[1]].abs() - 1).clamp(min=0)
    return there + (there.clamp(-1, 1) - there).detach(), beyond


def _save(checkpoint: Path, state: dict, settings: WarmStartSettings, iteration: int) -> None:
    content = {name: part.state_dict() for name, part in state.items()}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(checkpoint) as temporary:
        torch.save(content | {"iteration": iteration, "settings": asdict(settings)}, temporary)


def _resume(checkpoint: Path, state: dict, settings: WarmStartSettings) -> int:
    """Load a checkpoint written under the same settings; returns the iterations done."""
    if not checkpoint.exists():
        return 0
    content = torch.load(checkpoint, weights_only=True)
    if content["settings"] != asdict(settings):
        raise ValueError(f"{checkpoint}: written under other settings; name another folder")
    for name, part in state.items():
        part.load_state_dict(content[name])
    log.info("%s: resumed after %d iterations", checkpoint, content["iteration"])
    return content["iteration"]
