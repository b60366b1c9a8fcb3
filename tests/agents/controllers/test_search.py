from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from agents.controllers.base import NOT_A_NUMBER, Found, Tried, neutral
from agents.controllers.search import cma_es, gradient_ascent, random_search, refined
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import Potential, QualityReward, RewardSettings

KNOBS = len(DEFAULT_PIPELINE.parameters)
ROWS = np.arange(4)


def untouched(judged: JudgedScenes, rows) -> Found:
    """A proposal that looks at nothing."""
    zeros = np.zeros(len(rows))
    return Found(np.zeros((len(rows), KNOBS), np.float32), zeros, zeros, zeros.astype(int))


SEARCHES = {
    "random": lambda budgets: random_search(budgets, seed=3),
    "cma": lambda budgets: cma_es(budgets, seed=3),
    "gradient": gradient_ascent,
    "refined": lambda budgets: refined(untouched, budgets),
}


class MiddleGrey:
    """A judge that likes a mean of 0.5, and counts what it sees."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += len(images)
        return -(images.mean((1, 2, 3)) - 0.5).abs(), images.mean((2, 3))


def scenes() -> PreviewSet:
    rng = np.random.default_rng(0)
    level = np.array([0.01, 0.03, 0.1, 0.3])[:, None, None, None]
    return PreviewSet(
        linear=(level * (0.5 + rng.random((4, 3, 16, 16)))).astype(np.float16),
        noise=np.zeros((4, 3, 2), np.float32),
        as_shot_neutral=np.ones((4, 3), np.float32),
        iso=np.full(4, 100, np.float32),
    )


def judged(judge: MiddleGrey | None = None) -> JudgedScenes:
    settings = RewardSettings(views=("whole",), scale=10.0)
    return JudgedScenes(scenes(), QualityReward(judge or MiddleGrey(), settings))


def potential(value: torch.Tensor, score: torch.Tensor, rest: torch.Tensor) -> Potential:
    columns = rest[:, None]
    return Potential(value, score, columns, columns, rest, rest, columns.expand(-1, 3))


@dataclass(frozen=True)
class Bowl(JudgedScenes):
    """Nothing is rendered: the potential is 1 - |theta - optimum|^2, the score half of it.

    What a search asks for counts; what is known of shots (neutral) does not.
    """

    renders: list[int] = field(default_factory=list)  # row of each
    thetas: list[torch.Tensor] = field(default_factory=list)

    def optimum(self, rows):
        return torch.from_numpy(np.sin(rows[:, None] + np.arange(KNOBS)).astype(np.float32)) * 0.6

    def worth(self, rows, theta):
        value = 1 - (theta - self.optimum(rows)).square().sum(1)
        return potential(value, value / 2, torch.zeros(len(rows)))

    def shots(self, scene):
        shot = super().shots(scene)
        neutral = self.worth(scene, torch.zeros(len(scene), KNOBS))
        return shot._replace(sight=shot.sight._replace(potential=neutral))

    def judge(self, rows, theta):
        self.renders.extend(rows)
        self.thetas.append(theta)
        return torch.zeros(len(rows), 3, 1, 1), self.worth(rows, theta)

    def gradient(self, rows, theta):
        return self.judge(rows, theta)[1], 2 * (self.optimum(rows) - theta)


def bowl() -> Bowl:
    base = judged()
    return Bowl(base.scenes, base.reward)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("length", [1, 11, 37])
def test_a_search_spends_its_renders_exactly(name, length):
    counted = bowl()
    found = SEARCHES[name]([length])(counted, ROWS)
    assert (np.bincount(counted.renders) == length).all()
    assert (found.renders == length).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_the_judge_sees_the_renders_and_the_neutral_rendering_once(name):
    judge = MiddleGrey()
    SEARCHES[name]([13])(judged(judge), ROWS)
    assert judge.seen == 4 * (13 + 1)


@pytest.mark.parametrize("name", SEARCHES)
def test_what_is_found_renders_to_what_is_reported(name):
    task = judged()
    found = SEARCHES[name]([5, 24])(task, ROWS)
    _, start = task.neutral(ROWS)
    for stage in (*found.earlier, found):
        _, potential = task.judge(ROWS, torch.from_numpy(stage.theta))
        assert potential.value.numpy() == pytest.approx(stage.value, abs=1e-5)
        assert potential.score.numpy() == pytest.approx(stage.score, abs=1e-5)
        assert (stage.value >= start.value.numpy()).all()
        assert np.abs(stage.theta).max() <= 1
    assert found.value.mean() > start.value.mean().item() + 0.3


@pytest.mark.parametrize("name", SEARCHES)
def test_a_smaller_budget_is_the_beginning_of_the_same_search(name):
    whole = SEARCHES[name]([10, 25, 60])(bowl(), ROWS)
    assert [int(stage.renders[0]) for stage in whole.earlier] == [10, 25]
    for stage in (*whole.earlier, whole):
        alone = SEARCHES[name]([int(stage.renders[0])])(bowl(), ROWS)
        assert np.array_equal(alone.theta, stage.theta)
        assert np.array_equal(alone.value, stage.value)
        assert alone.earlier == ()
    assert (whole.value > whole.earlier[0].value).any()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_scene_is_searched_alike_in_any_company(name):
    together = SEARCHES[name]([24])(judged(), ROWS)
    for rows in ([2], [3, 2]):
        found = SEARCHES[name]([24])(judged(), np.array(rows))
        assert found.theta[-1] == pytest.approx(together.theta[2], abs=1e-4)


@pytest.mark.parametrize("search", [random_search, cma_es])
def test_the_seed_decides_and_numpys_global_generator_does_not(search):
    def tried(seed: int) -> torch.Tensor:
        task = bowl()
        search([30], seed)(task, ROWS)
        return torch.cat(task.thetas)

    np.random.seed(1)  # noqa: NPY002 (the generator that must not matter)
    first = tried(1)
    np.random.seed(2)  # noqa: NPY002
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    assert torch.equal(tried(1), first)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    np.testing.assert_equal(after, state)
    assert ((tried(2) - first).abs().amax(1) > 0.01).all()
    assert len(first.unique(dim=0)) == 4 * 30


def test_cma_es_finds_the_optimum_and_beats_random_search():
    found = cma_es([100, 500], seed=0)(bowl(), ROWS)
    by_chance = random_search([500], seed=0)(bowl(), ROWS)
    assert (found.value > 0.85).all()  # neutral: below -1
    assert found.value.mean() > 0.95
    assert (by_chance.value < found.earlier[0].value).all()
    assert found.score == pytest.approx(found.value / 2)


def halfway(judged: JudgedScenes, rows) -> Found:
    """A proposal of one render on the way to the optimum."""
    assert isinstance(judged, Bowl)
    theta = 0.5 * judged.optimum(rows)
    potential = judged.worth(rows, theta)
    ones = np.ones(len(rows), int)
    return Found(theta.numpy(), potential.value.numpy(), potential.score.numpy(), ones)


def test_a_proposal_is_refined_from_where_it_is():
    scenes = bowl()
    found = refined(halfway, [1, 5])(scenes, ROWS)
    assert (found.earlier[0].theta == halfway(scenes, ROWS).theta).all()
    assert (found.value > found.earlier[0].value + 0.3).all()
    assert found.value.mean() > gradient_ascent([5])(scenes, ROWS).value.mean() + 0.3
    assert found.renders.tolist() == [5] * 4


def test_a_proposal_that_costs_more_than_there_is_is_refused():
    def wordy(judged, rows):
        return replace(halfway(judged, rows), renders=np.full(len(rows), 3))

    with pytest.raises(ValueError, match="proposal costs 3 renders"):
        refined(wordy, [2, 5])(bowl(), ROWS)
    scenes = bowl()
    found = refined(wordy, [3, 5])(scenes, ROWS)
    assert found.renders.tolist() == [5] * 4
    assert len(scenes.thetas) == 3  # the proposal's own picture, and two more
    assert (found.earlier[0].theta == halfway(scenes, ROWS).theta).all()


def test_what_a_proposal_cost_on_one_scene_takes_no_steps_from_another():
    costs = np.array([1, 4, 1, 3])

    def uneven(judged, rows):
        return replace(halfway(judged, rows), renders=costs[rows])

    together = refined(uneven, [4, 5])(bowl(), ROWS)
    for row in ROWS:
        alone = refined(uneven, [4, 5])(bowl(), ROWS[row : row + 1])
        assert together.theta[row] == pytest.approx(alone.theta[0], abs=1e-6)
    assert together.renders.tolist() == [5] * 4
    assert together.value[0] > together.value[1]  # four steps against one


def test_held_knobs_stay_and_the_others_are_refined_with_them():
    held = {0: 0.25, 3: -0.7}
    scenes = bowl()
    found = refined(halfway, [1, 60], held=held)(scenes, ROWS)
    for column, value in held.items():
        assert (found.theta[:, column] == np.float32(value)).all()
        tried = torch.cat(scenes.thetas)[:, column]
        assert (tried == value).all()
    free = np.setdiff1d(np.arange(KNOBS), list(held))
    optimum = scenes.optimum(ROWS).numpy()
    assert found.theta[:, free] == pytest.approx(optimum[:, free], abs=0.05)
    assert (found.earlier[0].theta[:, free] == halfway(scenes, ROWS).theta[:, free]).all()
    lost = sum((value - optimum[:, column]) ** 2 for column, value in held.items())
    assert found.value == pytest.approx(1 - lost, abs=0.02)


def test_neutral_competes_with_the_held_knobs_as_they_are():
    def worst(judged, rows):
        theta = -judged.optimum(rows).sign()
        ones = np.ones(len(rows), int)
        return Found(theta.numpy(), ones.astype(float), ones.astype(float), ones)

    found = refined(worst, [1], held={2: 0.5})(bowl(), ROWS)
    expected = np.zeros((len(ROWS), KNOBS), np.float32)
    expected[:, 2] = 0.5
    assert (found.theta == expected).all()


def test_gradient_ascent_finds_the_optimum():
    found = gradient_ascent([50, 200])(bowl(), ROWS)
    assert (found.earlier[0].value > 0.99).all()
    assert found.theta == pytest.approx(bowl().optimum(ROWS).numpy(), abs=0.01)


def test_random_search_covers_the_box():
    task = bowl()
    random_search([500], seed=0)(task, ROWS)
    tried = torch.cat(task.thetas)
    assert (tried.amin(0) < -0.98).all()
    assert (tried.amax(0) > 0.98).all()
    assert tried.mean(0).abs().max() < 0.06
    assert tried.var(0).numpy() == pytest.approx(1 / 3, abs=0.03)


def test_neutral_is_kept_where_nothing_is_better():
    class Worse(Bowl):
        def worth(self, rows, theta):
            return super().worth(rows, theta)._replace(value=-theta.square().sum(1))

    base = judged()
    found = random_search([20], seed=0)(Worse(base.scenes, base.reward), ROWS)
    assert not found.theta.any()
    assert not found.value.any()
    assert (found.renders == 20).all()


def test_neutral_costs_nothing():
    judge = MiddleGrey()
    task = judged(judge)
    found = neutral(task, ROWS)
    assert judge.seen == len(ROWS)
    assert not found.theta.any()
    assert not found.renders.any()
    assert found.value == pytest.approx(task.neutral(ROWS)[1].value.numpy())


def test_a_picture_without_a_potential_is_never_the_best():
    nan = torch.tensor([float("nan")])
    tried = Tried.of(torch.zeros(1, KNOBS), potential(nan, nan, nan))
    assert tried.value.item() == NOT_A_NUMBER


@pytest.mark.parametrize("budgets", [[], [0, 3], [5, 5], [9, 3]])
@pytest.mark.parametrize("name", SEARCHES)
def test_budgets_must_grow(name, budgets):
    with pytest.raises(ValueError, match="budgets: expected numbers that grow"):
        SEARCHES[name](budgets)
