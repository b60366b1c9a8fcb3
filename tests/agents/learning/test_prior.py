"""Lessons on shots of known error: they lower it, can be killed, and leave alone what they say."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.learning.prior import (
    LessonSettings,
    _rate,
    learn_light,
    learn_prior,
    simulated_source,
    store_source,
)
from agents.policies import PhotoPolicy, begin_neutral, features_of
from agents.policies.looks import answers
from isp_env.color.difference import chroma_and_contrast, cie94
from isp_env.isp.pipeline import IspPipeline
from isp_env.scenes.random_shots import Shots, ShotSettings
from tests.agents.tiny import PIPELINE, dark_shots, opinionated, scenes_of

SHORT = LessonSettings(
    light_batches=9,
    batches=9,
    looks=2,
    learning_rate=1e-3,
    head_rate=3e-3,
    averaging=0.8,
    theta_weight=0.0,
)
each_lesson = pytest.mark.parametrize("learn", [learn_light, learn_prior])
Learn = Callable[..., list[dict[str, float]]]


def source(number: int) -> Shots:
    return dark_shots(6, number)


def beginner(seed: int = 0) -> PhotoPolicy:
    policy = opinionated(seed=seed)
    begin_neutral(policy)
    return policy


def weights(policy: PhotoPolicy) -> torch.Tensor:
    return torch.cat([x.detach().float().flatten() for x in policy.state_dict().values()])


def apart(policy: PhotoPolicy, shots: Shots, looks: int = 1) -> float:
    theta = answers(policy, PIPELINE, shots, looks)[-1]
    return cie94(PIPELINE(shots.linear, theta, shots.noise), shots.truth).mean().item()


@pytest.mark.parametrize(("learn", "batches"), [(learn_light, 60), (learn_prior, 40)])
def test_a_lesson_lowers_the_colour_difference_of_shots_not_seen(learn, batches, tmp_path):
    policy, unseen = beginner(), dark_shots(12, 1000)
    before = apart(policy, unseen)
    assert before > 8  # a stop too dark
    settings = replace(SHORT, light_batches=batches, batches=batches)
    history = learn(policy, PIPELINE, source, settings, tmp_path)
    assert len(history) == batches
    assert [set(told) for told in history[:2]] == [{"neutral", f"look {n}"} for n in (1, 2)]
    assert history[0]["look 1"] == pytest.approx(history[0]["neutral"], rel=1e-4)
    last = [told["look 2"] for told in history[-10:] if "look 2" in told]
    assert np.mean(last) < 0.6 * history[-1]["neutral"]
    assert apart(policy, unseen, 2) < 0.6 * before


@each_lesson
def test_a_killed_lesson_ends_with_the_weights_of_an_undisturbed_one(
    learn: Learn, tmp_path, monkeypatch
):
    monkeypatch.setattr("agents.learning.prior.CHECKPOINT_EVERY", 4)
    undisturbed, killed, resumed = beginner(), beginner(), beginner()
    assert len(learn(undisturbed, PIPELINE, source, SHORT, tmp_path / "whole")) == 9

    def interrupted(number: int) -> Shots:
        if number == 6:
            raise KeyboardInterrupt
        return source(number)

    with pytest.raises(KeyboardInterrupt):
        learn(killed, PIPELINE, interrupted, SHORT, tmp_path / "killed")
    assert not features_of(killed).blind
    assert features_of(killed).fixed_statistics
    assert len(learn(resumed, PIPELINE, source, SHORT, tmp_path / "killed")) == 5  # from 4 on
    assert torch.equal(weights(resumed), weights(undisturbed))
    finished = beginner()
    assert learn(finished, PIPELINE, interrupted, SHORT, tmp_path / "killed") == []
    assert torch.equal(weights(finished), weights(undisturbed))


@each_lesson
def test_a_lesson_under_other_settings_is_refused(learn: Learn, tmp_path):
    learn(beginner(), PIPELINE, source, replace(SHORT, light_batches=1, batches=1), tmp_path)
    with pytest.raises(ValueError, match=r"(light|prior)\.pt: written under other settings"):
        learn(beginner(), PIPELINE, source, SHORT, tmp_path)


def test_the_light_stage_leaves_the_backbone_alone(tmp_path):
    policy = beginner()
    features = features_of(policy)

    def left_alone() -> dict[str, torch.Tensor]:
        kept = {**features.backbone.state_dict(), **features.join.state_dict()}
        return {name: value.clone() for name, value in kept.items()}

    before, light = left_alone(), [p.clone() for p in features.light.parameters()]
    learn_light(policy, PIPELINE, source, SHORT, tmp_path)
    after = left_alone()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    for old, new in zip(light, features.light.parameters(), strict=True):
        assert not torch.equal(old, new)
    assert not features.blind


def test_the_second_stage_teaches_all_and_goes_on_from_the_first(tmp_path):
    policy = beginner()
    features = features_of(policy)
    learn_light(policy, PIPELINE, source, replace(SHORT, light_batches=40), tmp_path)
    first = apart(policy, dark_shots(12, 1000))
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    told = learn_prior(policy, PIPELINE, source, SHORT, tmp_path)
    assert told[0]["look 1"] < 0.8 * told[0]["neutral"]
    assert apart(policy, dark_shots(12, 1000)) < 1.2 * first
    changed = {n for n, x in policy.state_dict().items() if not torch.equal(x, before[n])}
    for part in ("backbone.conv_stem", "backbone.bn1.running_mean", "light.0", "join.0"):
        assert any(f"features_extractor.{part}" in name for name in changed), part
    assert features.fixed_statistics
    assert not policy.training


def test_the_backbone_is_given_the_pictures_as_they_are(tmp_path):
    """The backbone is given what the neutral rendering shows, as it is in an environment."""
    policy = beginner()
    seen = []
    features = features_of(policy)
    hook = features.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    learn_prior(policy, PIPELINE, source, replace(SHORT, batches=1, looks=1), tmp_path)
    hook.remove()
    shots = source(0)
    neutral = PIPELINE(shots.linear, PIPELINE.neutral(6), shots.noise)
    mean, std = (torch.tensor(x)[:, None, None] for x in (features.mean, features.std))
    looked = seen[0] * std + mean  # as the backbone is given it
    assert looked.mean((2, 3)).numpy() == pytest.approx(neutral.mean((2, 3)).numpy(), abs=0.01)
    assert looked.std() > 0.05


def doubtful(number: int, others: float = 0.0) -> Shots:
    """Shots that look alike; three of five should be lighter, and two as neutral, or `others`."""
    shot = dark_shots(1, 5, (1.0, 1.0))
    linear = shot.linear.expand(5, -1, -1, -1)
    noise = shot.noise.expand(5, -1, -1)
    theta = torch.zeros(5, len(PIPELINE.parameters))
    theta[:3, 0], theta[3:, 0] = 0.5, others
    with torch.no_grad():
        truth = PIPELINE(linear, theta, noise)
    neutral, iso = shot.as_shot_neutral.expand(5, -1), shot.iso.expand(5)
    return Shots(linear, noise, neutral, iso, truth)


def test_regret_pulls_towards_neutral(tmp_path):
    """Without it the answer is the median truth; with it, what harms two counts more."""

    def answer(regret: float) -> float:
        policy = beginner()
        settings = replace(SHORT, light_batches=80, looks=1, coarse=4, regret=regret)
        learn_light(policy, PIPELINE, doubtful, settings, tmp_path / f"{regret}")
        return answers(policy, PIPELINE, doubtful(0), 1)[0][:, 0].mean().item()

    assert answer(0.0) > 0.35
    assert abs(answer(2.0)) < 0.1


def test_harm_counts_more_where_neutral_was_near(tmp_path):
    """Two alike lessons but for `near`: the nearer shots seem, the less an answer dares."""

    def darker(number: int) -> Shots:
        return doubtful(number, -0.1)

    def answer(near: float) -> float:
        policy = beginner()
        settings = replace(SHORT, light_batches=80, looks=1, coarse=4, regret=2.0, near=near)
        learn_light(policy, PIPELINE, darker, settings, tmp_path / f"{near}")
        return answers(policy, PIPELINE, doubtful(0), 1)[0][:, 0].mean().item()

    assert abs(answer(1000.0)) < answer(0.01) - 0.1


def test_a_rate_rises_and_falls_to_zero():
    rates = [_rate(done, 10, 110) for done in range(111)]
    assert rates[:10] == pytest.approx([(n + 1) / 11 for n in range(10)])
    assert rates[10] == 1
    assert rates[60] == pytest.approx(0.5)
    assert rates[110] == pytest.approx(0)


def test_regret_grows_and_looks_take_turns(tmp_path, monkeypatch):
    said = []

    def listening(policy, pipeline, shots, turn, factor, regret, settings, optimizer):
        said.append((turn, factor, regret))
        optimizer.step()
        return {"neutral": 1.0}

    monkeypatch.setattr("agents.learning.prior._lesson", listening)
    settings = replace(SHORT, batches=4, regret=2.0, fine_every=3)
    learn_prior(beginner(), PIPELINE, source, settings, tmp_path)
    assert said == [(0, 1, 0.5), (1, 2, 1.0), (0, 2, 1.5), (1, 1, 2.0)]


def test_a_reduced_picture_has_less_noise(monkeypatch, tmp_path):
    """Means over 2 x 2 pixels have a quarter of the variance; the ISP denoises by it."""
    given = []

    render = IspPipeline.__call__

    def listening(pipeline, linear, theta, noise):
        given.append((linear.shape[-1], noise.mean().item()))
        return render(pipeline, linear, theta, noise)

    monkeypatch.setattr(IspPipeline, "__call__", listening)

    def noisy(number: int) -> Shots:
        shots = source(number)
        return shots._replace(noise=torch.full_like(shots.noise, 4e-4))

    learn_light(beginner(), PIPELINE, noisy, replace(SHORT, light_batches=1), tmp_path)
    assert {width: round(noise * 1e4, 3) for width, noise in given} == {32: 4.0, 16: 1.0}


def test_theta_costs_what_it_is_said_to_weigh(tmp_path):
    def largest(weight: float) -> float:
        policy = beginner()
        settings = replace(SHORT, light_batches=40, looks=1, coarse=4, theta_weight=weight)
        learn_light(policy, PIPELINE, source, settings, tmp_path / f"{weight}")
        return answers(policy, PIPELINE, source(0), 1)[0].abs().mean().item()

    free = largest(0.0)
    assert free > 0.1
    assert largest(300.0) < 0.6 * free


@each_lesson
def test_features_are_dropped_while_learning_alone(learn: Learn, tmp_path, monkeypatch):
    """And the same ones again in a lesson that is repeated."""
    asked = []
    drop = torch.nn.functional.dropout

    def listening(x, share, training):
        asked.append((share, training))
        return drop(x, share, training)

    monkeypatch.setattr("agents.policies.networks.nn.functional.dropout", listening)
    ends = []
    for folder in ("first", "again"):
        policy = beginner()
        torch.rand(len(ends))  # what else is drawn does not matter
        learn(policy, PIPELINE, source, replace(SHORT, dropout=0.4), tmp_path / folder)
        ends.append(weights(policy))
        assert (0.4, True) in asked
        asked.clear()
        answers(policy, PIPELINE, source(0), 1)
        assert not any(training for _, training in asked)
    assert torch.equal(*ends)
    policy = beginner()
    learn(policy, PIPELINE, source, replace(SHORT, dropout=0.0), tmp_path / "none")
    assert not torch.allclose(weights(policy), ends[0])


def test_an_answer_pays_for_dullness(tmp_path):
    """Where the hues of the truth are out of reach, grey is nearest; the charge keeps chroma."""

    def other_hues(number: int) -> Shots:
        shots = source(number)
        return shots._replace(truth=shots.truth.flip(1))  # red for blue

    def chroma(weight: float) -> float:
        policy = beginner()
        settings = replace(SHORT, light_batches=60, looks=1, coarse=1, regret=0.0, dullness=weight)
        learn_light(policy, PIPELINE, other_hues, settings, tmp_path / f"{weight}")
        shots = other_hues(1000)
        theta = answers(policy, PIPELINE, shots, 1)[0]
        picture = PIPELINE(shots.linear, theta, shots.noise)
        return chroma_and_contrast(picture)[:, 0].mean().item()

    assert chroma(3.0) > 1.2 * chroma(0.0)


def test_the_history_tells_of_batches_and_of_who_watches(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.learning.prior.LOG_EVERY", 3)
    watched = []

    def watch(policy: PhotoPolicy) -> dict[str, float]:
        watched.append(policy.training)
        return {"accuracy": 0.5}

    history = learn_prior(beginner(), PIPELINE, source, SHORT, tmp_path, watch, watch_every=4)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["batch"] for row in rows] == [3, 4, 6, 8, 9]
    assert {row["lesson"] for row in rows} == {"prior"}
    firsts = [h["look 1"] for h in history[:3:2]]  # the batch between taught the second look
    assert rows[0]["look 1"] == pytest.approx(np.mean(firsts))
    assert rows[1] == {"lesson": "prior", "batch": 4, "accuracy": 0.5}
    assert watched == [False, False]


def test_a_simulated_source_depends_on_the_number_alone():
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (40, 50, 3)).astype(np.uint8) for _ in range(5)]
    first = simulated_source(photos, ShotSettings(), long_side=24, batch_size=4, seed=3)
    again = simulated_source(photos, ShotSettings(), long_side=24, batch_size=4, seed=3)
    first(0)
    for name, value in first(7)._asdict().items():
        assert torch.equal(value, getattr(again(7), name))
    shapes = {tuple(first(number).linear.shape[2:]) for number in range(20)}
    assert len(shapes) > 2  # another aspect ratio in each batch
    assert all(max(shape) == 24 for shape in shapes)
    assert not torch.equal(first(7).iso, first(8).iso)
    crops = simulated_source(photos, ShotSettings(), 24, 4, seed=3, least_crop=0.3)
    assert not torch.equal(crops(7).truth, first(7).truth)
    few = simulated_source(photos[:2], ShotSettings(), long_side=24, batch_size=4)
    assert len(few(0).linear) == 4  # photographs come again where there are few


def test_a_store_is_learned_from_in_batches_of_its_scenes():
    scenes = scenes_of(dark_shots(9, 3))
    draw = store_source(scenes, batch_size=4, seed=1)
    seen = set()
    for number in range(30):
        shots = draw(number)
        rows = [
            int(np.flatnonzero((scenes.linear == one.numpy()).all((1, 2, 3)))[0])
            for one in shots.linear.half()
        ]
        assert len(set(rows)) == 4
        assert torch.equal(shots.truth, scenes.truths(np.array(rows)))
        assert shots.iso.numpy() == pytest.approx(scenes.iso[rows])
        seen.update(rows)
    assert seen == set(range(9))
    assert len(store_source(scenes, batch_size=50)(0).linear) == 9
