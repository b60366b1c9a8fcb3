"""The recorded search for an algorithm's settings, on a store of a few scenes."""

from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest

from agents.learning.algorithms import AgentSettings, PPOSettings
from agents.policies import AgentError
from experiments.tuning import search_settings
from experiments.tuning.search_settings import (
    ALGORITHMS,
    SPACES,
    Settings,
    changed,
    divided,
    main,
)
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
    chosen = search_settings.changed

    def quick(default: AgentSettings, values: dict):
        whole = chosen(default, {"policy": NETWORK} | values)
        small: dict = {"steps": 8, "batch_size": 4}
        if isinstance(whole, PPOSettings):
            return replace(whole, rollout=2, **small)
        return replace(whole, learning_starts=4, buffer=8, **small)

    monkeypatch.setattr(search_settings, "changed", quick)


def test_no_photograph_is_trained_on_and_compared_by():
    names = tuple(f"{n % 5}.jpg, shot {n}" for n in range(13))
    training, compared = divided(names, 0.4)
    assert sorted([*training, *compared]) == list(range(13))
    sides = [{names[row].split(",")[0] for row in part} for part in (training, compared)]
    assert len(sides[1]) == 2
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("name", SPACES)
def test_every_setting_searched_is_one_and_its_default_may_be_drawn(name):
    default = ALGORITHMS[name](seed=3)
    first = {setting: attrgetter(setting)(default) for setting in SPACES[name]}
    for setting, distribution in SPACES[name].items():
        assert distribution._contains(distribution.to_internal_repr(first[setting]))
    assert changed(default, first) == default
    other = changed(default, first | {"learning_rate": 1e-3})
    assert other == replace(default, learning_rate=1e-3)
    assert changed(PPOSettings(), {"policy.log_std": -2.5}).policy.log_std == -2.5


def test_a_search_goes_on_reports_the_best_first_and_keeps_to_its_judge(
    store, parts, short, tmp_path, monkeypatch
):
    settings = Settings(
        store, "ppo", 2, count=SCENES, validation=0.5, out=tmp_path, environments=2, **parts
    )
    train, begun = search_settings.train, list[Path]()

    def interrupted(env, chosen, folder, *arguments, **options):
        begun.append(folder)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return train(env, chosen, folder, *arguments, **options)

    monkeypatch.setattr(search_settings, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(settings)
    main(settings)
    folder = tmp_path / "ppo"
    assert begun == [folder / "0", folder / "1", folder / "1"]  # goes on where it was
    table = (folder / "search.md").read_text().splitlines()
    assert "learning_rate" in table[0]
    gains = [float(line.split("|")[2].split()[0]) for line in table[2:]]
    assert len(gains) == 2
    assert sorted(gains, reverse=True) == gains
    lengths = {line.count("|") for line in table}
    assert len(lengths) == 1
    main(replace(settings, trials=0, out=tmp_path / "none"))
    assert len((tmp_path / "none" / "ppo" / "search.md").read_text().splitlines()) == 2

    main(settings)
    assert len(begun) == 3  # trains nothing again
    assert (folder / "search.md").read_text().splitlines() == table
    other = replace(settings, count=SCENES - 1)
    with pytest.raises(AgentError, match="another judge; name another --out"):
        main(other)


@pytest.mark.parametrize("name", ["sac", "td3"])
def test_algorithms_with_a_replay_memory_are_searched(store, parts, short, tmp_path, name):
    main(
        Settings(
            store, name, 1, count=SCENES, validation=0.5, out=tmp_path, environments=2, **parts
        )
    )
    assert len((tmp_path / name / "search.md").read_text().splitlines()) == 3
