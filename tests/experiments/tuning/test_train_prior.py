"""Whole lessons of tiny priors by the script, from photographs and from a store."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.learning.prior import LessonSettings
from agents.policies import load_prior
from experiments.simulated_scenes import TruthSettings
from experiments.tuning import evaluate_prior, train_prior
from experiments.tuning.train_prior import BANDS, Settings, main, measure, sources
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.random_shots import Shots
from tests.experiments.tiny_agents import NETWORK, folder_of_photographs, store_of

LESSON = LessonSettings(light_batches=2, batches=2)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    folder = tmp_path_factory.mktemp("prior")
    truths = TruthSettings(photos=folder_of_photographs(folder / "photos", 20))
    return Settings(
        truths,
        out=folder / "out",
        export=folder / "export" / "tiny",
        policy=NETWORK,
        lesson=LESSON,
        long_side=48,
        batch_size=3,
        watched=1,
    )


@pytest.fixture(scope="module")
def card(settings) -> dict:
    main(settings)
    assert settings.export is not None
    return json.loads(settings.export.with_suffix(".json").read_text())


def test_a_run_exports_a_policy_that_is_loaded(settings, card):
    assert settings.export is not None
    agent = load_prior(str(settings.export))
    assert agent is not None
    assert agent.card.algorithm == "supervised"
    assert agent.card.task.horizon == LESSON.looks
    assert agent.card.task.absolute
    assert agent.card.doubt == settings.doubt > 0
    assert {path.name for path in settings.out.glob("*.pt")} == {"light.pt", "prior.pt"}


def test_the_card_tells_settings_and_data_and_no_folders(settings, card):
    told = card["training"]
    assert told["settings"]["shots"]["veil_share"] == settings.shots.veil_share
    assert told["init"] == "random"
    assert "'held out':" in told["data"]
    assert str(settings.out.parent) not in json.dumps(card)
    measured = card["metrics"]["held-out simulated shots"]
    assert measured["shots"] == 30
    assert measured["neutral: CIEDE2000"] > 0


def test_a_prior_learns_from_a_store(settings, tmp_path):
    store_of(tmp_path / "store", 10)
    own = replace(
        settings, truths=TruthSettings(), store=tmp_path / "store", out=tmp_path, export=None
    )
    main(own)
    card = json.loads((tmp_path / "prior.json").read_text())
    assert card["training"]["data"].startswith("store store;")
    small, training, held_out, _ = sources(own)
    seen = {row.numpy().tobytes() for n in range(20) for row in training(n).truth}
    kept = {row.numpy().tobytes() for n in range(20) for row in held_out(n).truth}
    assert len(kept) == 2  # a fifth of ten
    assert not seen & kept
    assert small is training


def test_measures_are_those_of_the_answers(settings, card):
    """Shots that neutral renders exactly: any answer but neutral moves away."""
    assert settings.export is not None
    agent = load_prior(str(settings.export))
    assert agent is not None
    _, training, _, _ = sources(settings)

    def perfect(number: int) -> Shots:
        shots = training(number)
        truth = DEFAULT_PIPELINE(
            shots.linear, DEFAULT_PIPELINE.neutral(len(shots.linear)), shots.noise
        )
        return shots._replace(truth=truth)

    told = measure(agent.policy, perfect, 2, looks=2)  # type: ignore[arg-type]
    assert told["neutral: CIEDE2000"] == pytest.approx(0, abs=1e-6)
    low, high = BANDS[0]
    band = told[f"look 1: neutral {low} to {high}"]
    assert band["shots"] == told["shots"] == 6
    assert band["change"] == pytest.approx(told["look 1: CIEDE2000"])
    assert band["nearer"] == 0
    shrunk = measure(agent.policy, perfect, 2, doubt=100.0, looks=2)  # type: ignore[arg-type]
    assert shrunk["look 2: CIEDE2000"] < 0.1 * told["look 2: CIEDE2000"]
    assert shrunk["look 1: CIEDE2000"] == told["look 1: CIEDE2000"]


def test_measures_tell_how_lively_pictures_are(settings, card):
    """Of shots in grey, the answers cannot be livelier; of vivid ones, the truth is told."""
    assert settings.export is not None
    agent = load_prior(str(settings.export))
    assert agent is not None
    _, training, _, _ = sources(settings)

    def vivid(number: int) -> Shots:
        shots = training(number)
        return shots._replace(
            linear=shots.linear.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous(),
            truth=shots.truth * torch.tensor([1.0, 0.2, 0.2])[:, None, None],
        )

    told = measure(agent.policy, vivid, 1)  # type: ignore[arg-type]
    assert told["neutral: chroma"] < 1
    assert told["truth: chroma"] > 20
    assert told["truth: contrast"] > 2


def test_the_figures_of_a_card_are_measured_again(settings, card, capsys):
    again = evaluate_prior.Settings(settings.truths.photos, str(settings.export), long_side=48)
    evaluate_prior.main(again)
    told = json.loads(capsys.readouterr().out)
    kept = card["metrics"]["held-out simulated shots"]
    assert told.keys() == kept.keys()
    assert told["shots"] == 24 * 10
    evaluate_prior.main(replace(again, doubt=1e6))
    calm = json.loads(capsys.readouterr().out)
    assert calm["look 1: CIEDE2000"] == pytest.approx(calm["neutral: CIEDE2000"], abs=1e-3)


def test_it_learns_from_all_but_what_is_held_out(settings, monkeypatch):
    asked = []
    monkeypatch.setattr(TruthSettings, "paths", lambda self, *parts: asked.append(parts) or [])
    monkeypatch.setattr(train_prior, "read_truths", lambda paths, side: [])
    sources(settings)
    assert asked == [("training", "referee"), ("held out",)]


def test_the_held_out_photographs_are_of_the_folder_alone(settings):
    names = {path.name for path in settings.truths.paths("held out")}
    others = {path.name for path in settings.truths.paths("training")}
    assert names
    assert not names & others
    assert len(names | others) < 20  # a part is for referees
    assert np.all([Path(name).suffix == ".png" for name in names])
