"""What a policy sees, what it does not, and what its parts learn from."""

import copy
from typing import cast

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from torch import nn

from agents.policies import (
    POLICIES,
    PhotoFeatures,
    PhotoPolicy,
    actor,
    begin_neutral,
    build_policy,
    features_of,
    mean_action,
    networks,
)
from isp_env.task.observations import CAPTURE, IMAGE_SIDE, LINEAR, observation_space
from tests.agents.tiny import NETWORK, opinionated

KNOBS = 3
ATTRIBUTES = 5
SPACE = observation_space(KNOBS, ATTRIBUTES)


def observation(count: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    """As the environment gives it: pictures are in [0, 255]."""
    random = torch.Generator().manual_seed(seed)
    length = (SPACE["vector"].shape or (0,))[0]
    size = (count, 6, IMAGE_SIDE, IMAGE_SIDE)
    return {
        "image": torch.randint(256, size, generator=random, dtype=torch.uint8),
        "linear": 2 * torch.rand(count, LINEAR, generator=random) - 1,
        "vector": 2 * torch.rand(count, length, generator=random) - 1,
    }


def read(seen: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As Stable-Baselines3 hands it to the features."""
    return seen | {"image": seen["image"].float() / 255}


@pytest.fixture
def policy():
    return opinionated(attributes=ATTRIBUTES)


def changed(seen: dict[str, torch.Tensor], key: str, part) -> dict[str, torch.Tensor]:
    other = {name: value.clone() for name, value in seen.items()}
    other[key][part] = (255 if key == "image" else 1) - other[key][part]
    return other


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("image", np.s_[:, :3]),
        ("image", np.s_[:, 3:]),
        ("linear", np.s_[:, :27]),
        ("linear", np.s_[:, 27:]),
        ("vector", np.s_[:, :KNOBS]),
        ("vector", np.s_[:, KNOBS]),
        ("vector", np.s_[:, -CAPTURE:]),
    ],
    ids=["now", "neutral", "quantiles", "thumbnail", "theta", "progress", "capture"],
)
def test_a_policy_sees(policy, key, part):
    seen = observation()
    assert not torch.allclose(
        mean_action(policy, changed(seen, key, part)), mean_action(policy, seen), atol=1e-4
    )


def test_a_policy_sees_nothing_of_the_reward(policy):
    seen = observation()
    other = changed(seen, "vector", np.s_[:, KNOBS + 1 : -CAPTURE])
    assert torch.equal(mean_action(policy, other), mean_action(policy, seen))


def test_a_blind_policy_looks_at_light_and_colour_alone(policy):
    features, seen = features_of(policy), read(observation())
    whole = features(seen)
    features.blind = True
    blind = features(seen)
    assert whole.shape == blind.shape == (4, 2 * NETWORK.hidden)
    assert torch.equal(blind[:, : NETWORK.hidden], whole[:, : NETWORK.hidden])
    assert (blind[:, NETWORK.hidden :] == 0).all()
    nn.init.constant_(next(features.backbone.parameters()), float("nan"))
    assert torch.equal(features(seen), blind)  # nor does it compute what it does not use


def test_the_layers_of_light_do_not_learn_through_the_backbones(policy):
    features = features_of(policy)
    features(read(observation()))[:, NETWORK.hidden :].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in features.light.parameters())
    assert all(p.grad is not None and p.grad.any() for p in features.join.parameters())


def test_statistics_stay_in_reinforcement_learning_and_follow_in_a_lesson(policy):
    features, seen = features_of(policy), observation()
    norm = next(m for m in features.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    before = norm.running_mean.clone()  # type: ignore[union-attr]
    policy.set_training_mode(True)
    together = mean_action(policy, seen)
    alone = mean_action(policy, {key: value[:1] for key, value in seen.items()})
    assert torch.allclose(together[:1], alone, atol=1e-5)
    assert torch.equal(norm.running_mean, before)  # type: ignore[arg-type]
    features.fixed_statistics = False
    policy.set_training_mode(True)
    mean_action(policy, seen)
    assert not torch.allclose(norm.running_mean, before)  # type: ignore[arg-type]
    features.fixed_statistics = True
    policy.set_training_mode(True)
    assert not norm.training


def test_features_are_dropped_in_a_lesson_alone(policy):
    features, seen = features_of(policy), read(observation())
    whole = features(seen)
    features.dropout = 0.5
    features.eval()
    assert torch.equal(features(seen), whole)
    features.train()
    torch.manual_seed(0)
    first, second = features(seen), features(seen)
    torch.manual_seed(0)
    assert torch.equal(features(seen), first)
    for half in np.s_[:, : NETWORK.hidden], np.s_[:, NETWORK.hidden :]:
        assert not torch.allclose(first[half], second[half])
        assert not torch.allclose(first[half], whole[half])
    features.dropout = 0.0
    assert torch.equal(features(seen), whole)


def test_a_frozen_backbone_looks_at_a_picture_once(policy, monkeypatch):
    features, seen = features_of(policy), read(observation())
    learning = features(seen)
    features.frozen = True
    looked = []
    look = features._looked
    monkeypatch.setattr(features, "_looked", lambda now: looked.append(len(now)) or look(now))
    for _ in range(2):
        assert torch.allclose(features(seen), learning, atol=1e-5)
    twice = {key: value[[0, 3, 0]] for key, value in read(observation()).items()}
    assert torch.allclose(features(twice), learning[[0, 3, 0]], atol=1e-5)
    fresh = read(observation(2, seed=1))
    both = {key: torch.cat([value, fresh[key], fresh[key]]) for key, value in seen.items()}
    features(both)[:, NETWORK.hidden :].sum().backward()
    assert looked == [4, 2]
    assert all(p.grad is None for p in features.backbone.parameters())
    assert all(p.grad is not None and p.grad.any() for p in features.join.parameters())


def test_a_frozen_backbone_forgets_what_other_weights_saw(policy):
    features, seen = features_of(policy), read(observation())
    features.frozen = True
    features(seen)
    other = features_of(opinionated(attributes=ATTRIBUTES, seed=1))
    features.load_state_dict(other.state_dict())
    assert torch.allclose(features(seen), other(seen), atol=1e-5)


def test_a_frozen_backbone_forgets_the_oldest(policy, monkeypatch):
    monkeypatch.setattr(networks, "REMEMBERED", 5)
    features = features_of(policy)
    features.frozen = True
    first = features(read(observation(4)))
    features(read(observation(4, seed=1)))
    assert len(features._memory) == 5
    assert torch.allclose(features(read(observation(4))), first, atol=1e-5)


@pytest.mark.parametrize("algorithm", POLICIES)
def test_statistics_are_fixed_in_a_policy_that_was_just_built(algorithm):
    policy = build_policy(algorithm, NETWORK, SPACE, KNOBS, KNOBS)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    mean_action(policy, observation())
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_what_the_critic_errs_by_does_not_change_the_features(policy):
    policy.predict_values(observation()).sum().backward()
    assert all(p.grad is None for p in policy.features_extractor.parameters())
    assert all(p.grad is not None for p in policy.value_net.parameters())


def test_a_policy_begins_neutral(policy):
    assert mean_action(policy, observation()).abs().amax() > 0.1
    begin_neutral(policy)
    assert not mean_action(policy, observation()).any()


def test_a_policy_is_copied_after_a_gradient_step(policy):
    """The distribution that Stable-Baselines3 keeps in a policy would hold the step's graph."""
    seen = observation()
    mean_action(policy, seen).sum().backward()
    policy.evaluate_actions(seen, torch.zeros(4, KNOBS))[1].sum().backward()
    twin = copy.deepcopy(policy)
    assert torch.equal(mean_action(twin, seen), mean_action(policy, seen))


@pytest.mark.parametrize("algorithm", POLICIES)
def test_the_mean_action_is_the_one_that_is_played(algorithm):
    torch.manual_seed(0)
    policy = build_policy(algorithm, NETWORK, SPACE, KNOBS, KNOBS)
    policy.set_training_mode(False)
    seen = observation()
    stored = {key: value.numpy() for key, value in seen.items()}
    played, _ = policy.predict(stored, deterministic=True)
    mean = mean_action(policy, seen)
    assert played == pytest.approx(mean.detach().clamp(-1, 1).numpy(), abs=1e-5)
    assert np.ptp(played) > 0
    mean.sum().backward()
    features = actor(policy).features_extractor
    assert isinstance(features, PhotoFeatures)
    assert all(p.grad is not None and p.grad.any() for p in features.light.parameters())


def test_weights_of_the_backbone_are_loaded_and_others_refused(policy, tmp_path):
    features = features_of(policy)
    torch.manual_seed(1)
    timms = timm.create_model(NETWORK.backbone, num_classes=0)
    save_file(timms.state_dict(), tmp_path / "same.safetensors")
    features.initialise(tmp_path / "same.safetensors")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(features.backbone.eval()(images), timms.eval()(images))
    another = timm.create_model("test_resnet", num_classes=0)
    save_file(another.state_dict(), tmp_path / "another.safetensors")
    wider = {name: torch.cat([x, x]) for name, x in timms.state_dict().items() if x.ndim}
    save_file(wider, tmp_path / "wider.safetensors")
    for name in ("another", "wider"):
        with pytest.raises(ValueError, match=rf"{name}\.safetensors: not the weights"):
            features.initialise(tmp_path / f"{name}.safetensors")


def test_features_of_other_policies_are_named():
    other = MultiInputActorCriticPolicy(SPACE, opinionated().action_space, lambda _: 0.0)
    with pytest.raises(TypeError, match="PhotoFeatures, got CombinedExtractor"):
        features_of(other)
    assert isinstance(features_of(opinionated()), PhotoFeatures)


def test_a_policy_that_begins_neutral_answers_alike_at_every_step():
    policy = build_policy("supervised", NETWORK, SPACE, KNOBS, KNOBS)
    assert isinstance(policy, PhotoPolicy)
    begin_neutral(policy)
    nn.init.normal_(cast(nn.Linear, policy.action_net).weight)  # as if it had learned
    seen = observation()
    later = {name: value.clone() for name, value in seen.items()}
    later["vector"][:, KNOBS] += 0.5  # progress
    assert torch.equal(mean_action(policy, seen), mean_action(policy, later))
    later["vector"][:, -1] += 0.5  # the blue gain
    assert not torch.equal(mean_action(policy, seen), mean_action(policy, later))
