"""The recorded search for an algorithm's settings, on a store of a few scenes."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents import warm_start
from agents.algorithms import PPOSettings, SACSettings, TD3Settings
from agents.policies import AgentError, PolicySettings
from agents.warm_start import WarmStartSettings
from experiments import search_settings
from experiments.search_settings import Settings, divided, drawn, main, settings_of
from isp_env.preview_building import build_previews
from isp_env.preview_sources import SimulatedSource, simulated_sources
from isp_env.preview_store import StoreSettings

PHOTOS, SCENES = 4, 6


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    rows, columns = np.mgrid[:72, :72] / 7
    for number in range(PHOTOS):
        planes = [np.sin(rows + number), np.cos(columns), np.sin(rows + columns)]
        photo = 0.5 + 0.3 * np.stack(planes, axis=-1)
        Image.fromarray((photo * 255).astype(np.uint8)).save(folder / f"{number}.png")
    sources = simulated_sources(sorted(folder.glob("*.png")), SCENES, seed=0, side=72)
    built = list(build_previews(sources, folder / "store", StoreSettings(48, square=True)))
    assert [one.status for one in built] == ["done"] * SCENES
    return folder / "store"


@pytest.fixture
def short(monkeypatch):
    """Trainings of a moment, that differ as the settings of the trials do."""
    chosen = search_settings.settings_of

    def quick(algorithm: str, number: int, seed: int):
        whole = chosen(algorithm, number, seed)
        start = replace(whole.warm_start, iterations=1, batch_size=2)
        small: dict = {"steps": 8, "batch_size": 4, "policy": PolicySettings(8, (8,))}
        if isinstance(whole, PPOSettings):
            return replace(whole, warm_start=start, rollout=2, **small)
        return replace(whole, warm_start=start, learning_starts=4, buffer=8, **small)

    monkeypatch.setattr(search_settings, "settings_of", quick)


def test_no_photograph_is_trained_on_and_compared_by():
    names = tuple(f"/photos/{n % 5}.jpg, shot {n} of seed 1 at 512" for n in range(13))
    training, compared = divided(names, 0.4)
    assert sorted([*training, *compared]) == list(range(13))
    sides = [
        {SimulatedSource.named(names[row]).path for row in part} for part in (training, compared)
    ]
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
    ascents = (
        {0, WarmStartSettings().iterations}
        if kind is PPOSettings
        else {WarmStartSettings().iterations}
    )
    assert {d.warm_start.iterations for d in draws} == ascents
    assert all(3e-5 <= d.learning_rate <= 1e-3 for d in draws)


def test_a_search_goes_on_reports_the_best_first_and_keeps_to_its_judge(
    store, short, tmp_path, monkeypatch
):
    settings = Settings(store, "ppo", 2, count=SCENES, validation=0.5, out=tmp_path, environments=2)
    main(settings)
    report = json.loads((tmp_path / "ppo" / "search.json").read_text())
    gains = [trial["gain"]["potential"]["mean"] for trial in report["trials"]]
    assert sorted(gains, reverse=True) == gains
    assert sorted(trial["number"] for trial in report["trials"]) == [0, 1]
    assert "compared on" in report
    table = (tmp_path / "ppo" / "search.md").read_text()
    assert "warm_start.learning_rate" in table  # differs
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
def test_trials_with_a_replay_memory_share_the_warm_start(
    store, short, tmp_path, monkeypatch, name
):
    climbed = []
    practise = warm_start._practise
    monkeypatch.setattr(warm_start, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(
        warm_start, "_practise", lambda *all: (climbed.append(1), practise(*all))[1]
    )
    main(Settings(store, name, 2, count=SCENES, validation=0.5, out=tmp_path, environments=2))
    assert len(climbed) == 1
    first, second = (tmp_path / name / n / "warm_start.pt" for n in "01")
    assert first.read_bytes() == second.read_bytes()
