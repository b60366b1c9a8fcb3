"""The networks of policies: a photograph's features, and the heads that choose theta."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import timm
import torch
from gymnasium import spaces
from jaxtyping import Float
from safetensors.torch import load_file
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import (
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.sac.policies import MultiInputPolicy as SACPolicy
from stable_baselines3.sac.policies import SACPolicy as SACNetworks
from stable_baselines3.td3.policies import MultiInputPolicy as TD3Policy
from stable_baselines3.td3.policies import TD3Policy as TD3Networks
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from isp_env.task.observations import CAPTURE, THUMBNAIL, squeezed

Algorithm = Literal["supervised", "PPO", "SAC", "TD3"]

REMEMBERED = 8192  # features of pictures; some 5 kB each


@dataclass(frozen=True)
class PolicySettings:
    """The networks of an agent.

    Attributes:
        backbone: The convolutional network that looks at the rendering; a model name of timm.
        side: Pixels of the square that the backbone sees; observations are reduced to it.
        hidden: Width of the layers that join its features with what else is observed.
        frozen: Whether the backbone stays as it is: it then looks at a picture once, however often
            the layers behind it learn from it.
        critic: Widths of the layers of critics.
        log_std: Initial log standard deviation of PPO's and SAC's Gaussian actions.
    """

    backbone: str = "mobilenetv2_100"
    side: int = 96
    hidden: int = 256
    frozen: bool = False
    critic: tuple[int, ...] = (128,)
    log_std: float = -2.5

    def arguments(self, algorithm: Algorithm, knobs: int) -> dict[str, Any]:
        """Return the keyword arguments of Stable-Baselines3's policy class."""
        critic = list(self.critic)
        shared = {
            "features_extractor_class": PhotoFeatures,
            "features_extractor_kwargs": {
                "backbone": self.backbone,
                "side": self.side,
                "hidden": self.hidden,
                "frozen": self.frozen,
                "knobs": knobs,
            },
            "share_features_extractor": True,
        }
        if algorithm in ("PPO", "supervised"):
            return shared | {"net_arch": {"pi": [], "vf": critic}, "log_std_init": self.log_std}
        return shared | {"net_arch": {"pi": [], "qf": critic}}


class PhotoFeatures(BaseFeaturesExtractor):
    """What a policy sees: light and colour as numbers, and a network on the rendering now.

    Reads of an observation (`isp_env.task.observations`) the neutral rendering through the
    backbone, 8 x 8 pixels of both renderings, `linear`, and of `vector` theta, the progress and the
    capture data; what the reward says of the picture is left to critics of other designs.

    Attributes:
        fixed_statistics: Whether batch normalisation keeps its statistics while training, as
            reinforcement learning needs: it acts with a batch of one and learns with others.
        blind: Leave the backbone out; its features are zeros.
        dropout: Share of features that a lesson drops (Srivastava et al. 2014); none elsewhere.
    """

    fixed_statistics = True
    blind = False
    dropout = 0.0

    def __init__(
        self,
        space: spaces.Dict,
        backbone: str,
        side: int,
        hidden: int,
        knobs: int,
        frozen: bool = False,
    ) -> None:
        super().__init__(space, 2 * hidden)
        self.frozen = frozen
        self._memory: OrderedDict[int, Tensor] = OrderedDict()
        self.backbone = timm.create_model(backbone, num_classes=0)
        seen_by = cast(dict[str, Any], self.backbone.pretrained_cfg)
        self.mean, self.std = list(seen_by["mean"]), list(seen_by["std"])
        self.side, self.knobs = side, knobs
        seen = 2 * 3 * THUMBNAIL**2 + (space["linear"].shape or (0,))[0] + knobs + 1 + CAPTURE
        width = cast(int, getattr(self.backbone, "head_hidden_size", self.backbone.num_features))
        self.light = _layers(seen, hidden)
        self.join = _layers(width + hidden, hidden)
        self.register_load_state_dict_post_hook(lambda *_: self._memory.clear())
        self.train()  # with fixed statistics from the beginning

    def forward(self, observations: dict[str, Tensor]) -> Float[Tensor, "b f"]:
        """Compute the features of a batch, those of the light first; pictures are in [0, 1]."""
        image, vector = observations["image"], observations["vector"]
        small = nn.functional.adaptive_avg_pool2d(image, THUMBNAIL).flatten(1)
        numbers = [vector[:, : self.knobs + 1], vector[:, -CAPTURE:]]
        light = self._through(self.light, torch.cat([small, observations["linear"], *numbers], 1))
        if self.blind:
            return torch.cat([light, torch.zeros_like(light)], dim=1)
        neutral = image[:, 3:]
        looked = self._remembered(neutral) if self.frozen else self._looked(neutral)
        looked = torch.cat([self._dropped(looked), light.detach()], dim=1)
        return torch.cat([light, self._through(self.join, looked)], dim=1)

    def _through(self, layers: nn.Sequential, x: Float[Tensor, "b n"]) -> Float[Tensor, "b h"]:
        """Apply `_layers`, between whose halves a lesson drops features."""
        half = len(layers) // 2
        return layers[half:](self._dropped(layers[:half](x)))

    def _dropped(self, x: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        return nn.functional.dropout(x, self.dropout, self.training and self.dropout > 0)

    def _looked(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        small = squeezed(pictures, self.side).contiguous(memory_format=torch.channels_last)
        return self.backbone(normalize(small, self.mean, self.std))

    @torch.no_grad()
    def _remembered(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Look at pictures in [0, 1] that were not seen lately; they are known by their 8 bits."""
        keys = [hash(each.tobytes()) for each in (255 * pictures).round().byte().cpu().numpy()]
        fresh = list({key: row for row, key in enumerate(keys) if key not in self._memory}.items())
        if fresh:
            looked = self._looked(pictures[[row for _, row in fresh]])
            self._memory.update(zip([key for key, _ in fresh], looked, strict=True))
        found = torch.stack([self._memory[key] for key in keys])
        while len(self._memory) > REMEMBERED:
            self._memory.popitem(last=False)
        return found

    @torch.no_grad()
    def ignore_progress(self) -> None:
        """Answer at every step as at the first, where theta is 0 and both renderings are one."""
        weight = cast(nn.Linear, self.light[0]).weight
        pixels = 3 * THUMBNAIL**2
        weight[:, pixels : 2 * pixels] += weight[:, :pixels]
        weight[:, :pixels] = 0
        weight[:, -CAPTURE - 1 - self.knobs : -CAPTURE] = 0

    def train(self, mode: bool = True) -> "PhotoFeatures":
        """Set the mode; with `fixed_statistics` not that of batch normalisation."""
        super().train(mode)
        for module in self.backbone.modules() if self.fixed_statistics else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def initialise(self, path: Path) -> None:
        """Load ImageNet weights of the backbone (safetensors, timm's names, no classifier).

        Raises:
            ValueError: They are those of another network.
        """
        try:
            missing, unexpected = self.backbone.load_state_dict(load_file(path), strict=False)
        except RuntimeError as error:
            raise ValueError(f"{path}: not the weights of this backbone: {error}") from error
        if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
            raise ValueError(f"{path}: not the weights of this backbone: {missing} {unexpected}")


def _layers(inputs: int, hidden: int) -> nn.Sequential:
    """Two layers, normalised (Ba et al. 2016, Layer normalization): (b, inputs) -> (b, hidden)."""
    return nn.Sequential(
        *(nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.GELU()),
        *(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.GELU()),
    )


class _Critic(MlpExtractor):
    """Layers behind the features; what the critic errs by does not change the features."""

    def forward_critic(self, features: Tensor) -> Tensor:
        return super().forward_critic(features.detach())


class PhotoPolicy(MultiInputActorCriticPolicy):
    """PPO's actor and critic on `PhotoFeatures`; the features learn from the actor alone."""

    def _build_mlp_extractor(self) -> None:
        assert isinstance(self.net_arch, dict)
        self.mlp_extractor = _Critic(
            self.features_dim, self.net_arch, self.activation_fn, self.device
        )

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        """Return a distribution of its own: one kept here has a graph, and is not copied."""
        own = copy.copy(self.action_dist)
        assert isinstance(own, DiagGaussianDistribution)
        return own.proba_distribution(self.action_net(latent_pi), self.log_std)


POLICIES: Mapping[Algorithm, type[BasePolicy]] = {
    "supervised": PhotoPolicy,
    "PPO": PhotoPolicy,
    "SAC": SACPolicy,
    "TD3": TD3Policy,
}


def build_policy(
    algorithm: Algorithm, settings: PolicySettings, space: spaces.Dict, knobs: int, actions: int
) -> BasePolicy:
    """Build an untrained policy.

    Args:
        algorithm: Decides the class.
        settings: The networks.
        space: Of observations (`isp_env.task.observations.observation_space`).
        knobs: Length of theta.
        actions: Length of an action.
    """
    return POLICIES[algorithm](
        space,
        spaces.Box(-1.0, 1.0, (actions,), np.float32),
        lr_schedule=lambda _: 0.0,
        **settings.arguments(algorithm, knobs),
    )


def features_of(policy: BasePolicy) -> PhotoFeatures:
    """Return the features extractor of a policy.

    Raises:
        TypeError: It is none of this package's.
    """
    features = policy.features_extractor
    if not isinstance(features, PhotoFeatures):
        raise TypeError(f"a policy that sees by PhotoFeatures, got {type(features).__name__}")
    return features


def begin_neutral(policy: PhotoPolicy) -> None:
    """Let an untrained policy answer theta = 0, and answer alike at every step of an episode.

    Supervised looks know no progress (`looks.look`): it may change answers once it is learned.
    """
    for value in policy.action_net.parameters():
        nn.init.zeros_(value)
    progress = -CAPTURE - 1  # beside the capture data, which is last
    nn.init.zeros_(cast(nn.Linear, features_of(policy).light[0]).weight[:, progress])


def actor(policy: BasePolicy) -> nn.Module:
    """Return the network that chooses the actions: PPO's whole policy, the actor of SAC and TD3."""
    if isinstance(policy, SACNetworks | TD3Networks):
        return policy.actor
    return policy


def mean_action(policy: BasePolicy, observation: Any) -> Float[Tensor, "n k"]:
    """Return the deterministic action, not clipped, for an observation in tensors; differentiable.

    Raises:
        TypeError: Not a policy of PPO, SAC or TD3.
    """
    if isinstance(policy, MultiInputActorCriticPolicy):
        return cast(Tensor, policy.get_distribution(observation).distribution.mean)  # type: ignore[union-attr]
    if isinstance(policy, SACNetworks):
        return torch.tanh(policy.actor.get_action_dist_params(observation)[0])
    if isinstance(policy, TD3Networks):
        return policy.actor(observation)
    raise TypeError(f"a policy of PPO, SAC or TD3, got {type(policy).__name__}")


def sync_targets(policy: BasePolicy) -> None:
    """Let the moving averages of SAC's and TD3's networks start from the networks as they are."""
    if isinstance(policy, SACNetworks | TD3Networks):
        policy.critic_target.load_state_dict(policy.critic.state_dict())
    if isinstance(policy, TD3Networks):
        policy.actor_target.load_state_dict(policy.actor.state_dict())
