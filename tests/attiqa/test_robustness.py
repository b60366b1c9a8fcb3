import pytest
import torch

from attiqa.distortions import LADDERS
from attiqa.robustness import ladder_responses

by_name = {ladder.name: ladder for ladder in LADDERS}


def test_a_score_that_knows_the_truth_resists_everything(small):
    for photo in small:
        truth = photo[None]
        responses = ladder_responses(lambda x, t=truth: -(x - t).square().mean((1, 2, 3)), [photo])
        assert set(responses) == set(by_name)
        for response in responses.values():
            assert response.peak_near_identity == 1
            assert response.pair_accuracy == 1
            assert response.median_peak == 0


def test_brightness_as_a_score_is_fooled_by_exposure(small):
    ladder = by_name["exposure"]
    response = ladder_responses(lambda x: x.mean((1, 2, 3)), small, (ladder,))["exposure"]
    assert response.peak_near_identity == 0
    assert response.pair_accuracy == 0.5  # the darker half of the levels
    assert response.median_peak == ladder.levels[-1]
    assert list(response.mean_scores) == sorted(response.mean_scores)


def test_one_level_from_the_identity_is_near(small):
    ladder = by_name["exposure"]
    grey = torch.full((1, 3, 8, 8), 0.5)
    brighter = 0.5875  # +0.5 EV of sRGB 0.5
    response = ladder_responses(lambda x: -(x.mean((1, 2, 3)) - brighter).abs(), grey, (ladder,))
    assert response["exposure"].median_peak == pytest.approx(0.5)
    assert response["exposure"].peak_near_identity == 1
