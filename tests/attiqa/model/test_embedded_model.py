"""What the card of the embedded model claims, measured again on its own files."""

from collections.abc import Callable

import pytest
import torch

from attiqa.data.datasets.biq2021 import read_biq2021
from attiqa.data.photo_folder import list_photos
from attiqa.data.rated_photos import random_split, split_hash
from attiqa.data.views import resize_short_side
from attiqa.distortions.ladders import LADDERS, distort
from attiqa.evaluation.ladder_response import SWEEPS, attribute_agreement, ladder_responses
from attiqa.evaluation.metrics import correlations
from attiqa.model.inputs import to_tensor
from attiqa.model.networks import QualityPrediction
from attiqa.model.quality_model import QualityModel, load_model
from experiments.iqa.measures import unchosen

PREVIEW = 224
hardly_minded = pytest.mark.xfail(
    strict=True,
    reason="two stops of overexposure and colour casts cost the mean score of six photographs less "
    "than 0.01: to compare developments, ask `compare`",
)
by_name = {ladder.name: ladder for ladder in LADDERS}


@pytest.fixture(scope="module")
def model() -> QualityModel:
    return load_model()


@pytest.fixture(scope="module")
def whole(model) -> Callable[[torch.Tensor], QualityPrediction]:
    """The predictions of `score`, photograph by photograph."""

    def predict(images: torch.Tensor) -> QualityPrediction:
        parts = [model.score_whole(image[None]) for image in images]
        return QualityPrediction(*map(torch.cat, zip(*parts, strict=True)))

    return predict


@pytest.fixture(scope="module")
def photographs(data) -> list[torch.Tensor]:
    return [to_tensor(path) for path in list_photos(data / "kodak")]


@pytest.fixture(scope="module")
def kodak(data) -> list[torch.Tensor]:
    """Every fourth of the photographs, as previews."""
    paths = list_photos(data / "kodak")[::4]
    return [resize_short_side(to_tensor(path)[None], PREVIEW)[0].clamp(0, 1) for path in paths]


@pytest.mark.data
@pytest.mark.slow
def test_agreement_with_people_on_photographs_kept_from_every_choice(model, data):
    photos = read_biq2021(data / "biq2021")
    settings = model.card.settings
    split = random_split(
        len(photos.paths), settings["validation"], settings["test"], settings["split_seed"]
    )
    assert split_hash(photos.names, split) == model.card.training["split"]["sha256"]
    kept = unchosen(len(photos.paths), split, settings["chosen_on"])
    scores = model.score([photos.paths[index] for index in kept]).score.numpy()
    found = correlations(scores, photos.mos[kept])["srocc"]
    claimed = model.card.metrics["kept from every choice, 190 photographs"]["five crops"]["srocc"]
    assert found == pytest.approx(claimed, abs=1e-3)
    assert found >= 0.82


@pytest.mark.data
@pytest.mark.xfail(
    strict=True,
    reason="on previews of 224 pixels the head for brightness follows blacks by 0.71, exposure by "
    "0.79 and gamma by 0.85; at the scale of the score it passes",
)
def test_the_heads_follow_the_ladders_of_their_attributes(model, kodak):
    agreement = attribute_agreement(lambda x: model.predict(x).attributes, kodak)
    assert {name: value for name, value in agreement.items() if value < 0.9} == {}


@pytest.mark.data
@pytest.mark.xfail(
    strict=True, reason="tint costs previews of 224 pixels nothing; all other ladders do"
)
def test_distortions_cost_score_on_every_ladder(model, kodak):
    responses = ladder_responses(lambda x: model.predict(x).score, kodak)
    assert {name: r.srocc for name, r in responses.items() if not r.srocc < 0} == {}


@pytest.mark.data
@pytest.mark.parametrize(
    "sweep", [s for s in SWEEPS if s.name != "sharpening"], ids=lambda sweep: sweep.name
)
def test_the_best_level_is_moderate(model, kodak, sweep):
    response = ladder_responses(lambda x: model.predict(x).score, kodak, (sweep,))[sweep.name]
    assert response.interior_peak >= 0.8


@pytest.mark.data
@pytest.mark.slow
def test_the_heads_follow_their_ladders_at_the_scale_of_the_score(whole, photographs):
    agreement = attribute_agreement(lambda x: whole(x).attributes, photographs[::12])
    assert {name: value for name, value in agreement.items() if value < 0.9} == {}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["exposure", "saturation", "sharpening", "focus"])
def test_the_best_level_is_moderate_at_the_scale_of_the_score(whole, photographs, name):
    sweep = next(sweep for sweep in SWEEPS if sweep.name == name)
    response = ladder_responses(lambda x: whole(x).score, photographs[::4], (sweep,))[name]
    assert response.interior_peak >= 0.8


@pytest.mark.data
@pytest.mark.parametrize(
    ("ladder", "level"),
    [
        ("blur", 2.4),
        ("noise", 0.06),
        ("exposure", -2.0),
        ("sharpening", 10.0),
        pytest.param("exposure", 2.0, marks=hardly_minded),
        pytest.param("temperature", 1.6, marks=hardly_minded),
        pytest.param("temperature", -1.6, marks=hardly_minded),
        pytest.param("tint", 1.0, marks=hardly_minded),
        pytest.param("tint", -1.0, marks=hardly_minded),
    ],
)
def test_clean_photographs_score_above_spoilt_ones_at_the_scale_of_the_score(
    whole, photographs, ladder, level
):
    clean = torch.stack([photo[:, :512, :512] for photo in photographs[::4]])
    margin = whole(clean).score - whole(distort(clean, by_name[ladder], level)).score
    assert margin.mean() > 0.01
    assert (margin > 0).sum() >= 4
