"""The batched tuning task as a Stable-Baselines3 `VecEnv`."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from isp_env.task.environment import IspTuningVectorEnv
from isp_env.task.info import row_of

LATEST = 20  # pictures that a scene's mean looks back on


class IspTuningVecEnv(VecEnv):
    """Stable-Baselines3's view of `IspTuningVectorEnv`: the same states and actions.

    Rewards are the environment's, the gain in potential of each step; or, with `scene_baselines`,
    the potential of each step's picture (for a discount of 0) less the mean of the pictures that
    the policy made of the same scene before; the first one of all earns nothing. How difficult a
    scene is then cancels out: a baseline that does not depend on the action leaves the policy
    gradient as it is (Williams 1992, REINFORCE). The mean return of a training is then near 0
    throughout, and tells nothing of its progress.

    Args:
        env: The task.
        scene_baselines: What is paid.

    Raises:
        ValueError: The environment does not start a new episode in the step that ends one
            (`AutoresetMode.SAME_STEP`), as Stable-Baselines3 expects.
    """

    def __init__(self, env: IspTuningVectorEnv, scene_baselines: bool = False) -> None:
        if (mode := env.metadata["autoreset_mode"]) != AutoresetMode.SAME_STEP:
            raise ValueError(f"autoreset_mode: expected SAME_STEP, got {mode}")
        self.env, self.scene_baselines = env, scene_baselines
        self._usual: dict[int, tuple[float, int]] = {}  # mean potential of a scene, and of how many
        self.render_mode = env.render_mode
        self._actions = np.zeros(env.action_space.shape or (), np.float32)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> dict[str, np.ndarray]:  # type: ignore[override]
        """Start every episode anew; what `seed()` and `set_options()` gave is used once."""
        observation, info = self.env.reset(seed=self._seeds[0], options=self._joined_options())
        self.reset_infos = [row_of(info, row) for row in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observation

    def _joined_options(self) -> dict[str, Any]:
        """Join the options of the environments; what not all of them have is refused."""
        given = [options or {} for options in self._options]
        if any(options.keys() != given[0].keys() for options in given):
            raise ValueError(f"options: expected the same keys for each environment, got {given}")
        return {key: np.array([options[key] for options in given]) for key in given[0]}

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self):
        """Step every environment; finished ones hand out `terminal_observation` and restart."""
        observation, reward, terminated, truncated, info = self.env.step(self._actions)
        over = terminated | truncated
        last, final = info.pop("final_info", info), info.pop("final_obs", observation)
        infos: list[dict[str, Any]] = []
        for row in range(self.num_envs):
            entry = row_of(last if over[row] else info, row)
            if over[row]:
                entry["terminal_observation"] = row_of(final, row)
                entry["TimeLimit.truncated"] = bool(truncated[row])
            if self.scene_baselines:
                reward[row] = self._beyond_usual(entry)
            infos.append(entry)
        return observation, reward.astype(np.float32), over, infos

    def _beyond_usual(self, info: dict[str, Any]) -> float:
        """Compare a picture with those of its scene before, and count it among them."""
        scene, potential = int(info["scene"]), float(info["potential"])
        usual, count = self._usual.get(scene, (potential, 0))
        count = min(count + 1, LATEST)
        self._usual[scene] = usual + (potential - usual) / count, count
        return potential - usual

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return the pictures now."""
        return self.env.pictures()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the batched environment, once for each row asked for."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the batched environment, for all rows."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the batched environment once; every row asked for gets the result."""
        result = getattr(self.env, method_name)(*args, **kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Say that no wrapper lies around a single row."""
        return [False for _ in self._get_indices(indices)]

    def _get_indices(self, indices: Any) -> Iterable[int]:
        return super()._get_indices(indices)
