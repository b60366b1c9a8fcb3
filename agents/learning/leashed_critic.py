"""Critics of actions that know the leash: the networks learn the rest of the potential alone.

What theta costs by itself is a formula (`isp_env.task.reward`). A network that had to learn it from
actions about the policy would know nothing of it further out, and an actor that climbs the network
would run there, to the ends of the knobs.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import MultiInputPolicy as SACPolicy
from stable_baselines3.td3.policies import MultiInputPolicy as TD3Policy
from torch import Tensor

from isp_env.task.environment import TaskSettings, aim


@dataclass(frozen=True)
class Leash:
    """What a step costs, or gives back, by the theta that it leads to.

    Attributes:
        task: How actions move theta.
        weight: `RewardSettings.theta_weight`.
    """

    task: TaskSettings
    weight: float

    def __call__(
        self, observation: dict[str, Tensor], action: Float[Tensor, "n k"]
    ) -> Float[Tensor, "n 1"]:
        """The change of the potential, clipping and chroma left out; a stop counts as a step."""
        knobs = action.shape[1] - (not self.task.absolute)
        vector = observation["vector"]  # `isp_env.task.observations.observe`
        theta, anchor = vector[:, :knobs], vector[:, knobs + 1 : 2 * knobs + 1]
        there = aim(theta, action, self.task).clamp(-1, 1)
        change = (theta - anchor).square().mean(1) - (there - anchor).square().mean(1)
        return self.weight * change[:, None]


class LeashedCritic(ContinuousCritic):
    """Q functions: networks, and the leash added to what each of them says."""

    def __init__(self, leash: Leash, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.leash = leash

    def forward(self, obs: Any, actions: Tensor) -> tuple[Tensor, ...]:
        """Return values of actions, (n, 1) by each network."""
        known = self.leash(obs, actions)
        return tuple(value + known for value in super().forward(obs, actions))

    def q1_forward(self, obs: Any, actions: Tensor) -> Tensor:
        """Return values of actions by the first network."""
        return super().q1_forward(obs, actions) + self.leash(obs, actions)


class _Leashed:
    """Stable-Baselines3's policy of an actor and critics of actions, with critics on a leash."""

    def __init__(self, *arguments: Any, leash: Leash, **named: Any) -> None:
        self.leash = leash
        super().__init__(*arguments, **named)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> LeashedCritic:
        named = self._update_features_extractor(self.critic_kwargs, features_extractor)  # type: ignore[attr-defined]
        return LeashedCritic(self.leash, **named).to(self.device)  # type: ignore[attr-defined]


class LeashedSACPolicy(_Leashed, SACPolicy):
    """SAC's networks."""


class LeashedTD3Policy(_Leashed, TD3Policy):
    """TD3's networks."""
