from typing import cast

import pytest
import torch
from scipy.stats import spearmanr

from attiqa.attributes import ATTRIBUTES
from attiqa.distortions.ladders import LADDERS, distort
from attiqa.evaluation.ladder_response import SWEEPS, attribute_agreement, ladder_responses
from attiqa.teachers.teacher import MeasuredTeacher

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
            assert response.srocc == pytest.approx(-1)


def test_brightness_as_a_score_is_fooled_by_exposure(small):
    ladder = by_name["exposure"]
    response = ladder_responses(lambda x: x.mean((1, 2, 3)), small, (ladder,))["exposure"]
    assert response.peak_near_identity == 0
    assert response.interior_peak == 0
    assert response.srocc == pytest.approx(0)  # -1 on the darker side, +1 on the brighter one
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


def test_the_sweeps_reach_from_nothing_to_far_too_much():
    ends = {sweep.name: (sweep.levels[0], sweep.levels[-1]) for sweep in SWEEPS}
    assert ends == {
        "exposure": (-3, 3),
        "saturation": (-1, 3),
        "sharpening": (0, 12),
        "focus": (-4, 12),
    }


def test_attribute_agreement_is_the_mean_of_scipys_correlation(small):
    teacher, ladder = MeasuredTeacher(), by_name["noise"]
    column, expected = ATTRIBUTES.index("noisiness"), []
    for photo in small:
        views = torch.cat([distort(photo[None], ladder, level) for level in ladder.levels])
        correlation, _ = cast(
            tuple[float, float], spearmanr(teacher(views)[:, column], ladder.levels)
        )
        expected.append(-correlation)
    found = attribute_agreement(teacher, small, (ladder, by_name["tint"]))
    assert found == {"noise": pytest.approx(sum(expected) / len(expected))}


def test_a_constant_score_agrees_with_nothing(small):
    found = attribute_agreement(lambda x: x.new_zeros(len(x), 5), small[:1], (by_name["blur"],))
    assert found == {"blur": 0}


def test_the_measured_teacher_climbs_every_ladder(clean):
    agreement = attribute_agreement(MeasuredTeacher(), clean)
    assert {name: value for name, value in agreement.items() if value < 0.9} == {}
