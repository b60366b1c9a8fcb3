import numpy as np
import pytest
import torch

from agents.controllers.automatic import auto_adjust, grey_world
from isp_env.color.rgb import luminance
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.stages.white_balance import white_balance_matrix
from isp_env.scenes.preview_set import PreviewSet
from isp_env.task.judged_scenes import JudgedScenes
from isp_env.task.reward import QualityReward, RewardSettings

DARK, CAST, HAZY, BACKLIT, BLACK, WHITE = range(6)


class Indifferent:
    """A judge that counts what it sees."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen += len(images)
        return images.mean((1, 2, 3)), images.mean((2, 3))


def scene_linear() -> np.ndarray:
    """Grey scenes with what went wrong, by the numbers above."""
    steps = np.random.default_rng(0).permutation(np.linspace(0, 1, 40 * 40)).reshape(1, 40, 40)
    scene = np.broadcast_to(0.003 + 0.9 * steps**3, (3, 40, 40))  # most of it dark, as scenes are
    balance = white_balance_matrix(torch.tensor([30.0]), torch.tensor([8.0]))[0].numpy()
    return np.stack(
        [
            scene / 3,
            np.einsum("ij,jhw->ihw", np.linalg.inv(balance), scene),
            0.3 * scene + 0.003,
            np.where(steps > 0.9, 1.0, 0.05 * scene),
            np.zeros_like(scene),
            np.ones_like(scene),
        ]
    )


@pytest.fixture(scope="module")
def task() -> JudgedScenes:
    linear = scene_linear().astype(np.float16)
    count = len(linear)
    scenes = PreviewSet(
        linear=linear,
        noise=np.zeros((count, 3, 2), np.float32),
        as_shot_neutral=np.ones((count, 3), np.float32),
        iso=np.full(count, 100, np.float32),
    )
    return JudgedScenes(scenes, QualityReward(Indifferent(), RewardSettings(views=("whole",))))


@pytest.fixture(scope="module")
def renderings(task) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    rows = np.arange(len(task.scenes))
    found = auto_adjust(task, rows)
    return found.theta, task.neutral(rows)[0], task.render(rows, torch.from_numpy(found.theta))


def shares(image: torch.Tensor) -> list[float]:
    luma = luminance(image.unbind(0)).flatten()
    return torch.quantile(luma, torch.tensor([0.01, 0.5, 0.99])).tolist()


@pytest.mark.parametrize("scene", [DARK, CAST, HAZY])
def test_levels_land_at_their_targets(renderings, scene):
    _, before, after = renderings
    assert shares(after[scene]) == pytest.approx([0.03, 0.46, 0.97], abs=0.03)
    if scene != CAST:  # whose levels are right from the start
        assert shares(before[scene]) != pytest.approx([0.03, 0.46, 0.97], abs=0.1)


def test_a_colour_cast_is_removed(renderings, task):
    theta, before, after = renderings
    cast = [(x[CAST].amax(0) - x[CAST].amin(0)).mean().item() for x in (before, after)]
    assert cast[0] > 0.05
    assert cast[1] < 0.003
    values = DEFAULT_PIPELINE.values(torch.from_numpy(theta))
    assert values["temperature"][CAST] == pytest.approx(30, abs=0.5)
    assert values["tint"][CAST] == pytest.approx(8, abs=0.2)


def test_grey_scenes_keep_their_balance(renderings):
    values = DEFAULT_PIPELINE.values(torch.from_numpy(renderings[0]))
    for knob in ("temperature", "tint"):
        others = np.delete(values[knob].numpy(), CAST)
        assert others == pytest.approx(0, abs=0.1)


def test_bright_skies_are_not_blown_for_a_dark_foreground(renderings):
    theta, before, after = renderings
    values = DEFAULT_PIPELINE.values(torch.from_numpy(theta))
    assert values["exposure"][BACKLIT] == pytest.approx(0, abs=0.01)
    assert shares(after[BACKLIT])[2] < 0.99
    assert shares(after[BACKLIT])[1] > shares(before[BACKLIT])[1] + 0.05


def test_a_cast_beyond_the_knobs_gets_what_they_reach():
    temperature, tint = grey_world(torch.tensor([1.0, 0.4, 0.05], dtype=torch.float64))
    assert abs(temperature) <= 70
    assert abs(tint) <= 20
    assert temperature == -70  # as cool as possible against so much red


@pytest.mark.parametrize("scene", [BLACK, WHITE])
def test_scenes_without_midtones_give_finite_settings(renderings, scene):
    theta, _, after = renderings
    assert np.isfinite(theta[scene]).all()
    assert np.abs(theta).max() <= 1
    assert torch.isfinite(after[scene]).all()


def test_one_render_is_spent_and_the_rest_of_the_knobs_stay(task):
    judge = Indifferent()
    counted = JudgedScenes(task.scenes, QualityReward(judge, task.reward.settings))
    found = auto_adjust(counted, np.array([DARK, CAST]))
    assert judge.seen == 2 + 2  # the neutral renderings and the results
    assert (found.renders == 1).all()
    moved = {"temperature", "tint", "exposure", "whites", "blacks", "gamma"}
    for column, knob in enumerate(DEFAULT_PIPELINE.parameters):
        assert knob.name in moved or not found.theta[:, column].any()
    _, potential = counted.judge(np.array([DARK, CAST]), torch.from_numpy(found.theta))
    assert found.value == pytest.approx(potential.value.numpy())


def test_a_scene_is_adjusted_alike_in_any_company_and_with_fewer_knobs(task, renderings):
    alone = auto_adjust(task, np.array([CAST]))
    assert alone.theta[0] == pytest.approx(renderings[0][CAST], abs=1e-6)
    fewer = JudgedScenes(task.scenes, task.reward, DEFAULT_PIPELINE.only(["gamma", "tint"]))
    names = [p.name for p in DEFAULT_PIPELINE.parameters]
    both = [names.index("gamma"), names.index("tint")]
    assert auto_adjust(fewer, np.array([CAST])).theta[0] == pytest.approx(alone.theta[0, both])
