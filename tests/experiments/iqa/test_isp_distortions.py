"""Wrong developments that the embedded models learn to rank below the photograph."""

import pytest
import torch
from skimage import data

from experiments.iqa.isp_distortions import (
    MOST_STEPS,
    _overdone,
    developed_distorted_and_overdone,
    developed_pairs,
    ladders_and_isp,
    ladders_isp_and_sharpening,
)


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    crops = [data.astronaut()[y : y + 96, 150:246] for y in (0, 80, 160, 240, 320, 400)]
    return torch.stack([torch.from_numpy(c / 255).permute(2, 0, 1).float() for c in crops])


def seeded(seed: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(10 * seed + index) for index in range(6)]


def test_the_strong_version_is_farther_from_the_photograph(photos):
    for seed in range(5):
        pairs = developed_pairs(photos, torch.arange(6), seeded(seed))
        assert (pairs.mild_steps <= pairs.strong_steps).all()
        assert (pairs.strong_steps <= MOST_STEPS).all()
        error = [(v - photos).abs().mean((1, 2, 3)) for v in (pairs.mild, pairs.strong)]
        assert error[1].mean() > 1.3 * error[0].mean()
        for view in (pairs.mild, pairs.strong):
            assert view.shape == photos.shape
            assert view.min() >= 0
            assert view.max() <= 1


def test_where_the_strong_error_harms_less_the_versions_are_exchanged(photos, monkeypatch):
    rows = torch.arange(6)
    usual = developed_pairs(photos, rows, seeded(0))
    differences = iter([torch.full((6,), 12.0), torch.full((6,), 6.0)])  # mild, then strong
    monkeypatch.setattr("experiments.iqa.isp_distortions._difference", lambda *_: next(differences))
    exchanged = developed_pairs(photos, rows, seeded(0))
    assert exchanged.mild_steps.tolist() == [1.0] * 6
    assert exchanged.strong_steps.tolist() == [2.0] * 6
    assert torch.equal(exchanged.mild[0], usual.strong[0])
    assert torch.equal(exchanged.strong[0], usual.mild[0])


def test_errors_differ_and_follow_the_seed(photos):
    first, again, other = (
        developed_pairs(photos, torch.arange(6), seeded(s)).strong for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_half_of_the_pairs_come_from_the_ladders(photos):
    pairs = ladders_and_isp(photos, torch.tensor([4, 1, 0, 2]), seeded(0))
    assert pairs.sources.tolist() == [4, 1, 0, 2]
    assert pairs.mild.shape == (4, 3, 96, 96)
    assert (pairs.mild_steps[:2] == pairs.mild_steps[:2].round()).all()  # rungs are whole numbers


def test_all_are_sharpened_too_in_the_last_stage(photos):
    pairs = ladders_isp_and_sharpening(photos, torch.tensor([4, 1, 0, 2]), seeded(0))
    assert pairs.sources.tolist() == [4, 1, 0, 2, 4, 1, 0, 2]
    assert (pairs.mild_steps < 0).tolist() == [False] * 4 + [True] * 4


def test_no_good_photograph_no_pair(photos):
    pairs = ladders_and_isp(photos, torch.zeros(0, dtype=torch.long), seeded(0))
    assert pairs.mild.shape == (0, 3, 96, 96)
    assert len(pairs.strong_steps) == 0


def test_wrong_developments_are_distorted_or_overdone_besides(photos):
    sources = torch.tensor([0, 1, 2, 3, 4, 5, 0, 1])
    pairs = developed_distorted_and_overdone(photos, sources, [*seeded(0)])
    assert pairs.sources.tolist() == sources.tolist()
    plain = ladders_and_isp(photos, sources[:2], seeded(0))
    assert torch.equal(pairs.mild[:2], plain.mild)
    assert torch.equal(pairs.strong[:2], plain.strong)
    wrong = developed_pairs(photos, sources[2:6], seeded(0))
    assert torch.equal(pairs.mild[2:6], wrong.mild)  # developed wrongly already
    assert torch.equal(pairs.mild_steps[2:6], wrong.mild_steps)
    assert (pairs.strong_steps[2:] >= pairs.mild_steps[2:] + 1).all()  # and a step worse
    changed = (pairs.strong[2:] - pairs.mild[2:]).abs().mean((1, 2, 3))
    assert (changed > 1e-3).all()


@pytest.mark.parametrize("kind", [0.0, 0.5, 0.9])
def test_more_is_overdone_more(kind, photos):
    start = photos[:1]
    moved = [(_overdone(start, kind, x, 0.5) - start).abs().mean().item() for x in (0.0, 0.5, 1.0)]
    assert 0.005 < moved[0] < moved[1] < moved[2]
