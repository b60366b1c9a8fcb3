"""The batched tuning task as a Stable-Baselines3 `VecEnv`."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from isp_env.task.environment import IspTuningVectorEnv
from isp_env.task.info import row_of


class IspTuningVecEnv(VecEnv):
    """Stable-Baselines3's view of `IspTuningVectorEnv`: the same states and actions.

    Rewards are the environment's, the gain in potential of each step; or, `beside_anchor`, the
    potential of the step's picture less that of the anchor's picture of the same scene. Each
    picture is then paid by itself (discount 0), and how difficult the scene is cancels out: with a
    prior as the anchor that is the baseline of self-critical training (Rennie et al., CVPR 2017),
    which leaves the policy gradient as it is, and takes most of its variance.

    Args:
        env: The task.
        beside_anchor: What is paid.

    Raises:
        ValueError: The environment does not start a new episode in the step that ends one
            (`AutoresetMode.SAME_STEP`), as Stable-Baselines3 expects.
    """

    def __init__(self, env: IspTuningVectorEnv, beside_anchor: bool = False) -> None:
        if (mode := env.metadata["autoreset_mode"]) != AutoresetMode.SAME_STEP:
            raise ValueError(f"autoreset_mode: expected SAME_STEP, got {mode}")
        self.env, self.beside_anchor = env, beside_anchor
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
            if self.beside_anchor:
                reward[row] = entry["potential"] - entry["anchor_potential"]
            infos.append(entry)
        return observation, reward.astype(np.float32), over, infos

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
