"""The tuning task: choose ISP parameters for a RAW photograph so that its quality rises.

`IspTuningVectorEnv` is the task for a batch of scenes, one tensor operation for all of them;
`IspTuningEnv` is its batch of one.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import to_values
from isp_env.isp.pipeline import IspPipeline
from isp_env.task.arguments import EMBEDDED, SAMPLES, Reward, Scenes, reward_of, scenes_of
from isp_env.task.batches import replaced, take
from isp_env.task.info import describe, row_of
from isp_env.task.judged_scenes import JudgedScenes, Shot, Sight
from isp_env.task.observations import capture_vector, observation_space, observe

RENDER_MODES = ("rgb_array",)
RENDER_FPS = 2  # of videos: a picture for each step


@dataclass(frozen=True)
class TaskSettings:
    """Rules of an episode.

    Attributes:
        horizon: Renders after which an episode ends.
        absolute: Actions are theta itself (with horizon 1, a contextual bandit); otherwise they
            are steps in theta, with a stop.
        step_size: Theta moved by a full action when not absolute.
        degenerate_potential: Potential of a picture that is black, white or not a number.
        pictures: Whether `image` is observed. Without it, observations are small vectors: faster
            by far for policies that learn from scratch; those of `agents` need it.

    Raises:
        ValueError: The horizon or the step size is not positive.
    """

    horizon: int = 5
    absolute: bool = False
    step_size: float = 0.5
    degenerate_potential: float = -10.0
    pictures: bool = True

    def __post_init__(self) -> None:
        if self.horizon < 1 or self.step_size <= 0:
            raise ValueError(f"horizon: expected at least 1, and step_size above 0; got {self}")


@dataclass
class _State:
    """Everything that changes in an episode, one row for each environment."""

    scene: np.ndarray  # (n,) row of the preview set
    step: Tensor  # (n,) renders so far
    theta: Tensor  # (n, d)
    shot: Shot
    now: Sight
    over: np.ndarray  # (n,) whether the next step starts a new episode


class IspTuningVectorEnv(gymnasium.vector.VectorEnv):
    """ISP tuning for a batch of scenes.

    ### Observation
    Dict of `image` (6, 128, 128) uint8, the rendering now and the neutral one (not without
    `TaskSettings.pictures`); `linear`, quantiles
    and a thumbnail of the scene-linear preview; and `vector`: theta, progress, the anchor's theta,
    histograms, clipping, attributes, potential, gain so far (both without the charge for distance
    from a truth), ISO and as-shot white balance (see `observations.observe`). Where the judge
    gives features, they are an entry, too.

    ### Action
    Box(-1, 1, (d + 1,)): a step in each of the d coordinates of theta, times `step_size`, and a
    stop where the last entry is above 0 (heeded from the second step on). With `absolute`
    Box(-1, 1, (d,)): theta itself.

    ### Reward
    r_t = phi(s_t+1) - phi(s_t), with phi of `reward.QualityReward`. The sum over an episode is
    phi(final) - phi(neutral), so the discount should be 1. A stop earns 0.

    ### Start and end
    Starts at the neutral rendering (theta = 0) of a random scene, or of `options["scene"]`.
    *Terminates* on stop, at the horizon (progress is observed, so this is no truncation) and on
    degenerate pictures, whose phi is `degenerate_potential`. Never truncates, unless
    `max_episode_steps` cuts episodes short of the horizon. A picture is
    degenerate if it is not finite or its mean leaves [0.02, 0.95] by more than half of what the
    neutral rendering's own mean allows.

    ### Rendering
    Every step renders anew from the scene-linear preview; nothing is edited twice. A stop renders
    nothing. What is seen of a scene's neutral rendering is remembered. With `render_mode`
    "rgb_array", `render()` makes the pictures anew, as (h, w, 3) uint8.

    ### Info
    `parameters` (physical values by name), `theta`, `score`, `attributes`, `potential`, `clipping`
    (share of samples), `chroma` (a*b* units), `leash` (potential lost by `clipping`, `chroma`,
    `theta` and distance from the `truth`) and `scene`, one row for each environment.

    ### Arguments
    `scenes`: previews to draw from, a store, RAW files or "samples" (`arguments.scenes_of`).
    `reward`: a `QualityReward`, a function of pictures that gives their scores, or the name of a
    quality model (`arguments.reward_of`). `anchors`: theta of each scene that the reward's
    penalties are measured from, as a prior's; neutral if not given. `num_envs`, `pipeline`,
    `settings`, `device`, `render_mode`, `max_episode_steps`. `autoreset_mode`: NEXT_STEP
    (Gymnasium's default: the step after the last one of an episode starts the next, whatever its
    action, and earns 0), SAME_STEP (the last observation and info of an episode are in
    `info["final_obs"]`, `info["final_info"]`) or DISABLED.

    ### Version history
    v0: first.
    """

    def __init__(
        self,
        scenes: Scenes = SAMPLES,
        reward: Reward = EMBEDDED,
        num_envs: int = 1,
        pipeline: IspPipeline = DEFAULT_PIPELINE,
        settings: TaskSettings = TaskSettings(),
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        device: str | torch.device = "cpu",
        anchors: Float32[np.ndarray, "n d"] | None = None,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        if render_mode not in (None, *RENDER_MODES):
            raise ValueError(f"render_mode: expected None or {RENDER_MODES}, got {render_mode!r}")
        self.scenes, self.reward = scenes_of(scenes), reward_of(reward, device)
        self.settings, self.device, self.pipeline = settings, torch.device(device), pipeline
        self.judged = JudgedScenes(self.scenes, self.reward, pipeline, self.device, anchors)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.longest = max_episode_steps or settings.horizon
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": RENDER_FPS,
            "autoreset_mode": mode,
        }
        self._state = self._start(np.zeros(num_envs, np.int64))
        knobs = len(pipeline.parameters)
        self.attributes = self._state.now.potential.attributes.shape[1]
        self.features = self._state.now.potential.features.shape[1]
        space = observation_space(knobs, self.attributes, self.features, settings.pictures)
        self.single_observation_space = space
        length = knobs if settings.absolute else knobs + 1
        self.single_action_space = spaces.Box(-1.0, 1.0, (length,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: Seeds the draw of scenes (of a list, its first entry).
            options: `scene`: row or rows of the preview set; `reset_mask`: which environments to
                start anew (the others go on).

        Raises:
            ValueError: There is no such scene.
        """
        options = options or {}
        super().reset(seed=seed[0] if isinstance(seed, list) else seed)
        mask = np.asarray(options.get("reset_mask", np.ones(self.num_envs, bool)))
        scene = options.get("scene")
        count = int(mask.sum())
        rows = self._draw(count) if scene is None else np.broadcast_to(scene, count)
        rows = np.asarray(rows, np.int64)
        if unknown := rows[(rows < 0) | (rows >= len(self.scenes))].tolist():
            raise ValueError(f"scene: expected 0 to {len(self.scenes) - 1}, got {unknown[0]}")
        self._restart(mask, rows)
        return self._observation(), self._info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every environment: (observation, reward, terminated, truncated, info).

        Raises:
            ValueError: The actions are of another shape, or one is not a number.
        """
        action = torch.as_tensor(np.asarray(actions), dtype=torch.float32, device=self.device)
        expected = (self.num_envs, *(self.single_action_space.shape or ()))
        if tuple(action.shape) != expected or not torch.isfinite(action).all():
            raise ValueError(
                f"actions: expected finite numbers of shape {expected}, got {tuple(action.shape)}"
                + (" with some that are not finite" if tuple(action.shape) == expected else "")
            )
        action = action.clamp(-1, 1)
        fresh = self._state.over
        if fresh.any():  # NEXT_STEP: these steps start episodes
            self._restart(fresh, self._draw(int(fresh.sum())))
        s, knobs = self._state, len(self.pipeline.parameters)
        idle = torch.from_numpy(fresh).to(self.device)
        theta = aim(s.theta, action, self.settings).clamp(-1, 1)
        if self.settings.absolute:
            stop = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        else:
            stop = (action[:, knobs] > 0) & (s.step > 0)
        before = s.now.potential.value
        still = stop | idle
        s.theta = torch.where(still[:, None], s.theta, theta)
        s.step = torch.where(idle, s.step, s.step + 1)
        degenerate = self._move(~still)
        reward = s.now.potential.value - before
        done = (stop | degenerate | (s.step >= self.settings.horizon)) & ~idle
        terminated, truncated = done.cpu().numpy(), (s.step >= self.longest).cpu().numpy()
        truncated = truncated & ~terminated & ~fresh
        over = terminated | truncated

        observation, info = self._observation(), self._info()
        mode = self.metadata["autoreset_mode"]
        if over.any() and mode == AutoresetMode.SAME_STEP:
            final = {"final_obs": observation, "_final_obs": over}
            final |= {"final_info": info, "_final_info": over}
            self._restart(over, self._draw(int(over.sum())))
            observation, info = self._observation(), self._info() | final
        elif mode == AutoresetMode.NEXT_STEP:
            s.over = over
        return observation, reward.cpu().numpy().astype(np.float64), terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return the pictures now, (h, w, 3) uint8 each; None without a `render_mode`."""
        return None if self.render_mode is None else self.pictures()

    def pictures(self) -> tuple[np.ndarray, ...]:
        """Return the pictures now, (h, w, 3) uint8 each."""
        with torch.inference_mode():
            images = self.judged.render(self._state.scene, self._state.theta)
        pictures = (images.nan_to_num(0.0) * 255).round().byte().permute(0, 2, 3, 1)
        return tuple(pictures.cpu().numpy())

    def _draw(self, count: int) -> Int64[np.ndarray, " n"]:
        return self.np_random.integers(len(self.scenes), size=count)

    def _start(self, scene: np.ndarray) -> _State:
        """State at the neutral renderings of `scene`."""
        theta = torch.zeros(len(scene), len(self.pipeline.parameters), device=self.device)
        shot = self.judged.shots(scene)
        now = self._priced(shot.sight, ~torch.isfinite(shot.sight.potential.value))
        step = torch.zeros(len(scene), device=self.device)
        over = np.zeros(len(scene), bool)
        return _State(scene, step, theta, shot._replace(sight=now), now, over)

    def _restart(self, mask: np.ndarray, scene: np.ndarray) -> None:
        """Put the environments of `mask` at the start of an episode with the scenes given."""
        fresh = self._start(scene)
        if mask.all():
            self._state = fresh
            return
        s, changed = self._state, torch.from_numpy(mask).to(self.device)
        s.scene, s.over = s.scene.copy(), s.over & ~mask
        s.scene[mask] = scene
        s.step = replaced(s.step, changed, fresh.step)
        s.theta = replaced(s.theta, changed, fresh.theta)
        s.shot = replaced(s.shot, changed, fresh.shot)
        s.now = replaced(s.now, changed, fresh.now)

    def _move(self, moving: Tensor) -> Tensor:
        """Render and judge the environments of `moving`; which of all have become degenerate."""
        s, everywhere = self._state, torch.zeros_like(moving)
        if not moving.any():
            return everywhere
        shot = take(s.shot, moving)
        sight = self.judged.see(s.scene[moving.cpu().numpy()], s.theta[moving], shot.reference)
        degenerate = _degenerate(sight, shot.sight)
        s.now = replaced(s.now, moving, self._priced(sight, degenerate))
        return replaced(everywhere, moving, degenerate)

    def _priced(self, sight: Sight, degenerate: Tensor) -> Sight:
        """Return the same with the potential that degenerate pictures have."""
        value = sight.potential.value
        value = torch.where(degenerate, self.settings.degenerate_potential, value)
        return sight._replace(potential=sight.potential._replace(value=value))

    def _observation(self) -> dict[str, np.ndarray]:
        s = self._state
        iso, white = self.scenes.iso[s.scene], self.scenes.as_shot_neutral[s.scene]
        potential = s.now.potential
        return observe(
            s.now.glance,
            s.shot.sight.glance,
            s.shot.linear,
            s.theta,
            s.step / self.settings.horizon,
            s.shot.reference.theta,
            potential.attributes,
            potential.observed,
            potential.observed - s.shot.sight.potential.observed,
            capture_vector(iso, white).to(self.device),
            potential.features,
            self.settings.pictures,
        )

    def _info(self) -> dict[str, Any]:
        s = self._state
        values = to_values(self.pipeline.parameters, s.theta)
        return describe(s.scene, s.theta, values, s.now.potential)


def aim(
    theta: Float[Tensor, "n d"], action: Float[Tensor, "n k"], settings: TaskSettings
) -> Float[Tensor, "n d"]:
    """Return the theta that an action in [-1, 1] aims at; it may lie beyond the bounds [-1, 1]."""
    action = action[:, : theta.shape[1]]
    return action if settings.absolute else theta + settings.step_size * action


def _degenerate(sight: Sight, neutral: Sight) -> Tensor:
    mean, usual = sight.glance.brightness, neutral.glance.brightness
    dark = mean < torch.minimum(usual / 2, usual.new_tensor(0.02))
    bright = mean > torch.maximum((usual + 1) / 2, usual.new_tensor(0.95))
    return dark | bright | ~torch.isfinite(mean) | ~torch.isfinite(sight.potential.value)


class IspTuningEnv(gymnasium.Env):
    """`IspTuningVectorEnv` with one scene at a time; its docstring is the specification."""

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012

    def __init__(
        self,
        scenes: Scenes = SAMPLES,
        reward: Reward = EMBEDDED,
        pipeline: IspPipeline = DEFAULT_PIPELINE,
        settings: TaskSettings = TaskSettings(),
        device: str | torch.device = "cpu",
        render_mode: str | None = None,
        anchors: Float32[np.ndarray, "n d"] | None = None,
    ) -> None:
        self._batch = IspTuningVectorEnv(
            scenes,
            reward,
            1,
            pipeline,
            settings,
            AutoresetMode.DISABLED,
            device,
            anchors,
            render_mode,
        )
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space
        self.render_mode, self._over = render_mode, True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; `options["scene"]` chooses the scene."""
        super().reset(seed=seed)
        self._over = False
        observation, info = self._batch.reset(seed=seed, options=options)
        return row_of(observation, 0), row_of(info, 0)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            ValueError: The action is of another shape, or holds what is not a number.
            gymnasium.error.ResetNeeded: The episode is over.
        """
        if self._over:
            raise gymnasium.error.ResetNeeded("the episode is over: call reset() first")
        observation, reward, terminated, _, info = self._batch.step(np.asarray(action)[None])
        self._over = bool(terminated[0])
        seen, told = row_of(observation, 0), row_of(info, 0)
        return seen, float(reward[0]), bool(terminated[0]), False, told

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return the picture now, (h, w, 3) uint8; None without a `render_mode`."""
        pictures = self._batch.render()
        return None if pictures is None else pictures[0]
