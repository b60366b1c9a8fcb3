"""The recorded search for an algorithm's settings, on a store of a few scenes."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from agents.learning.algorithms import PPOSettings, SACSettings, TD3Settings
from agents.policies import AgentError
from experiments.tuning import search_settings
from experiments.tuning.search_settings import Settings, divided, drawn, main, settings_of
from tests.experiments.tiny_agents import NETWORK, store_of, tiny_agent, tiny_judge

PHOTOS, SCENES = 4, 6


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    store_of(folder, SCENES, PHOTOS)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, str]:
    """A tiny prior and a tiny judge."""
    folder = tmp_path_factory.mktemp("parts")
    return {"prior": str(tiny_agent(folder / "prior")), "judge": tiny_judge(folder)}


@pytest.fixture
def short(monkeypatch):
    """Trainings of a moment, that differ as the settings of the trials do."""
    chosen = search_settings.settings_of

    def quick(algorithm: str, number: int, seed: int):
        whole = chosen(algorithm, number, seed)
        small: dict = {"steps": 8, "batch_size": 4, "policy": NETWORK}
        if isinstance(whole, PPOSettings):
            return replace(whole, rollout=2, **small)
        return replace(whole, learning_starts=4, buffer=8, **small)

    monkeypatch.setattr(search_settings, "settings_of", quick)


def test_no_photograph_is_trained_on_and_compared_by():
    names = tuple(f"{n % 5}.jpg, shot {n}" for n in range(13))
    training, compared = divided(names, 0.4)
    assert sorted([*training, *compared]) == list(range(13))
    sides = [{names[row].split(",")[0] for row in part} for part in (training, compared)]
    assert len(sides[1]) == 2
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("kind", [PPOSettings, SACSettings, TD3Settings])
def test_trials_differ_follow_the_seed_and_begin_with_the_defaults(kind):
    name = kind.algorithm.lower()
    assert settings_of(name, 0, 3) == kind(seed=3)
    first, again, other = (asdict(settings_of(name, n, 3)) for n in (1, 1, 2))
    assert first == again
    assert first != other
    assert first["steps"] == kind().steps  # all cost the same
    assert first["seed"] == 3
    draws = [drawn(kind(), np.random.default_rng(n)) for n in range(40)]
    assert all(3e-5 <= d.learning_rate <= 1e-3 for d in draws)


def test_a_search_goes_on_reports_the_best_first_and_keeps_to_its_judge(
    store, parts, short, tmp_path, monkeypatch
):
    settings = Settings(
        store, "ppo", 2, count=SCENES, validation=0.5, out=tmp_path, environments=2, **parts
    )
    main(settings)
    report = json.loads((tmp_path / "ppo" / "search.json").read_text())
    gains = [trial["gain"]["potential"]["mean"] for trial in report["trials"]]
    assert sorted(gains, reverse=True) == gains
    assert sorted(trial["number"] for trial in report["trials"]) == [0, 1]
    assert "compared on" in report
    table = (tmp_path / "ppo" / "search.md").read_text()
    assert "learning_rate" in table  # differs
    assert "| seed |" not in table  # does not

    def forbidden(*arguments, **options):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(search_settings, "train", forbidden)
        main(settings)
    again = json.loads((tmp_path / "ppo" / "search.json").read_text())
    assert again["trials"] == report["trials"]
    path = tmp_path / "ppo" / "1" / "trial.json"
    trial = json.loads(path.read_text())
    path.write_text(json.dumps(trial | {"origin": "another judge"}))
    with pytest.raises(AgentError, match="another judge; name another --out"):
        main(settings)


@pytest.mark.parametrize("name", ["sac", "td3"])
def test_algorithms_with_a_replay_memory_are_searched(store, parts, short, tmp_path, name):
    main(
        Settings(
            store, name, 1, count=SCENES, validation=0.5, out=tmp_path, environments=2, **parts
        )
    )
    report = json.loads((tmp_path / name / "search.json").read_text())
    assert len(report["trials"]) == 1
