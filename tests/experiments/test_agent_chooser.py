"""How much of an agent's choice a photographer takes, and which knobs it leaves alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.controllers.prior import prior_control
from agents.policies import load_agent
from attiqa.model.quality_model import load_model
from experiments.agent_chooser import AgentChooser, ChoiceError, choose
from experiments.render import Settings, main
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import to_theta
from isp_env.raw import RawImage, read_raw
from isp_env.raw.write_dng import write_dng
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.samples import simulated_sample
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward

KNOBS = DEFAULT_PIPELINE.parameters
COLUMN = {p.name: column for column, p in enumerate(KNOBS)}


@pytest.fixture(scope="module")
def shot(tmp_path_factory) -> Path:
    """A photograph of which the agent changes much: underexposed."""
    path = tmp_path_factory.mktemp("shot") / "coffee.dng"
    write_dng(simulated_sample("02_coffee_underexposed")[0], path)
    return path


@pytest.fixture(scope="module")
def raw(shot) -> RawImage:
    return read_raw(shot)


def rendered(shot: Path, out: Path, **settings) -> bytes:
    assert main(Settings(raw=[str(shot)], out=out, workers=0, format="png", **settings)) == 0
    return (out / "coffee.png").read_bytes()


def told(out: Path) -> dict:
    return json.loads((out / "coffee.png.json").read_text())


def values(out: Path) -> dict[str, float]:
    return {name: knob["value"] for name, knob in told(out)["parameters"].items()}


def chosen(raw: RawImage, given=None, **settings) -> torch.Tensor:
    choice = AgentChooser.of("embedded", **settings)(raw, given or {})
    return to_theta(KNOBS, {**(given or {}), **choice.parameters})[0]


def test_strength_0_renders_neutral_and_is_recorded(shot, tmp_path):
    neutral = rendered(shot, tmp_path / "neutral")
    assert rendered(shot, tmp_path / "none", agent="embedded", strength=0.0) == neutral
    assert rendered(shot, tmp_path / "full", agent="embedded") != neutral
    assert [told(tmp_path / x)["strength"] for x in ("neutral", "none", "full")] == [None, 0, 1]
    assert told(tmp_path / "full")["kept"] == []


def test_half_the_strength_is_half_of_theta(raw):
    whole, half = chosen(raw), chosen(raw, strength=0.5)
    assert whole.abs().max() > 0.1
    assert half.numpy() == pytest.approx(whole.numpy() / 2, abs=1e-6)


def test_another_strength_or_other_kept_knobs_render_again(shot, tmp_path):
    first = rendered(shot, tmp_path, agent="embedded", refine=0)
    again = rendered(shot, tmp_path, agent="embedded", refine=0, strength=0.5)
    kept = rendered(shot, tmp_path, agent="embedded", refine=0, strength=0.5, keep=("exposure",))
    assert len({first, again, kept}) == 3


def test_the_identity_says_what_is_chosen_not_how_it_is_written():
    def identity(**settings) -> str:
        return AgentChooser.of("embedded", **settings).identity

    plain = identity()
    assert identity(strength=0.5) != plain
    assert identity(keep=["exposure"]) not in (plain, identity(strength=0.5))
    by_stage, by_knobs = ["white-balance", "gamma"], ["gamma", "Tint", "tint", "temperature"]
    assert identity(keep=by_stage) == identity(keep=by_knobs)


def test_kept_knobs_have_the_values_of_the_other_layers(shot, tmp_path):
    rendered(
        *(shot, tmp_path),
        agent="embedded",
        keep=("white balance", "local_contrast"),
        parameters=("temperature=12.5", "exposure=-0.5"),
        strength=0.5,
    )
    found = values(tmp_path)
    assert (found["temperature"], found["tint"], found["local_contrast"]) == (12.5, 0.0, 0.0)
    assert found["exposure"] > 0  # not kept: the agent's
    assert told(tmp_path)["kept"] == ["temperature", "tint", "local_contrast"]


@pytest.mark.parametrize("refine", [0, 4])
def test_the_refinement_sees_the_values_of_kept_knobs(raw, refine):
    """Two stops more light by the photographer leave less for the agent's other knobs to lift."""
    dark = chosen(raw, {"exposure": 0.0}, keep=["exposure"], refine=refine)
    bright = chosen(raw, {"exposure": 2.0}, keep=["exposure"], refine=refine)
    assert (dark[COLUMN["exposure"]], bright[COLUMN["exposure"]]) == (0, 1)
    if refine:
        lifts = [COLUMN[name] for name in ("shadows", "whites", "gamma")]
        assert bright[lifts].sum() < dark[lifts].sum()


def test_a_prior_that_is_neither_refined_nor_held_back_chooses_without_the_reward(raw):
    prior = load_agent("prior", DEFAULT_PIPELINE)
    scene = PreviewSet.of([raw], prior.card.preview_side)
    judged = JudgedScenes(scene, QualityReward(load_model().for_reward()))
    expected = prior_control(prior)(judged, np.zeros(1, np.int64))

    def forbidden() -> QualityReward:
        raise AssertionError("asked")

    theta, renders = choose(raw, prior, prior, forbidden, refine=0)
    assert np.array_equal(theta, expected.theta)
    assert np.ptp(theta) > 0.1
    assert renders == expected.renders[0]


def test_an_agent_that_may_choose_nothing_changes_nothing(raw):
    every = [stage.name for stage in DEFAULT_PIPELINE.stages if stage.parameters]
    assert AgentChooser.of("embedded", keep=every)(raw, {"tint": 3.0}).parameters == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strength": 1.01}, "strength 1.01: expected a number from 0 to 1"),
        ({"strength": float("nan")}, "strength nan: expected a number from 0 to 1"),
        ({"keep": ["warmth"]}, "keep: unknown knob warmth; known: denoise, temperature, .*color"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ChoiceError, match=message):
        AgentChooser.of("embedded", **wrong)
