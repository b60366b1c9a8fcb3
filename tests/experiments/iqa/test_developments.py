"""Developments with known distances, how models are asked about them, and the last lesson whole."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from attiqa.model.checkpoints import load_checkpoint
from attiqa.model.networks import QualityNet
from attiqa.model.quality_model import QualityModel, load_model
from attiqa.training.learn_developments import DevelopmentLesson
from experiments.iqa import evaluate_developments, learn_developments
from experiments.iqa.developments import (
    EDITS,
    DevelopmentSettings,
    distances,
    random_theta,
    simulated_developments,
)
from experiments.iqa.evaluate_developments import developments, pair_accuracy
from experiments.simulated_scenes import TruthSettings
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.random_shots import ShotSettings
from tests.experiments.tiny_agents import (
    folder_of_photographs,
    photographs,
    tiny_agent,
    tiny_judge,
)

SETTINGS = DevelopmentSettings(shots=3, long_side=48, ascended_every=0)
PHOTOS = list(photographs(5).values())


def made(number: int = 1, **options):
    return simulated_developments(PHOTOS, ShotSettings(), SETTINGS, 0, number, **options)


def ones(shots):
    return 0.3 * torch.ones(len(shots.linear), len(DEFAULT_PIPELINE.parameters))


def test_the_truth_is_last_and_at_no_distance():
    found = made()
    assert found.images.shape[:2] == (3, 1 + 3 + 1 + 1 + 1)
    assert found.distance[:, -1].abs().max() < 1e-6
    assert (found.distance[:, 0] > 0.1).all()
    again = made()
    assert torch.equal(found.images, again.images)
    assert not torch.equal(found.distance, made(2).distance)


def test_the_reference_is_the_priors_but_for_every_fourth_batch():
    for number in (1, 4):
        neutral = made(number).images[:, 0]
        first, second = made(number, prior=ones).images[:, :2].unbind(1)
        beside = second if number % SETTINGS.neutral_every else first
        assert torch.equal(beside, neutral)
        assert not torch.equal(first, second)


def test_settings_that_the_model_likes_are_moved_to_where_it_likes_them_more():
    """A model that finds dark pictures best: what ascends is darker than what was drawn."""
    often = replace(SETTINGS, ascended_every=1, ascent=1.0)

    def brightness(images, reference):
        return images.mean((1, 2, 3))

    plain = simulated_developments(PHOTOS, ShotSettings(), SETTINGS, 0, 3)
    moved = simulated_developments(PHOTOS, ShotSettings(), often, 0, 3, brightness)
    last = SETTINGS.settings  # of the pictures by settings; the reference comes before
    assert (moved.images[:, last].mean((1, 2, 3)) < plain.images[:, last].mean((1, 2, 3))).all()
    assert torch.equal(moved.images[:, last - 1], plain.images[:, last - 1])


def test_distances_are_ciede2000_of_the_halves_and_the_detail_beyond():
    truth = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    shifted = (0.8 * truth + 0.1)[:, None]
    halves = [
        x.unflatten(2, (8, 2)).unflatten(4, (12, 2)).mean((3, 5)) for x in (truth, shifted[:, 0])
    ]
    labs = [rgb2lab(x.permute(0, 2, 3, 1).numpy()) for x in halves]
    color = deltaE_ciede2000(labs[0], labs[1]).mean((1, 2))
    assert distances(shifted, truth, 0.0)[:, 0].numpy() == pytest.approx(color, rel=1e-3)
    grey = truth.mean(1)
    blocks = grey.unflatten(1, (8, 2)).unflatten(3, (12, 2)).mean((2, 4))
    fine = grey - blocks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    detail = 100 * (0.2 * fine).abs().mean((1, 2)).numpy()  # a fifth of it is lost
    assert distances(shifted, truth, 1.0)[:, 0].numpy() == pytest.approx(color + detail, rel=1e-3)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
def test_every_edit_moves_a_photograph_and_more_so_at_full_strength(edit):
    rows, columns = np.mgrid[:32, :48] / 5
    planes = np.sign([np.sin(rows), np.cos(columns), np.sin(rows + columns)])  # edges, for halos
    photo = torch.from_numpy(0.5 + 0.3 * planes).float()[None]

    def moved(amount: float) -> float:
        numbers = torch.Generator().manual_seed(0)
        image = edit(photo, amount, 1.0, numbers).clamp(0, 1)
        assert image.isfinite().all()
        return distances(image[:, None], photo, 0.5).item()

    assert 0.1 < moved(0.1) < moved(1.0)


def test_settings_are_drawn_within_bounds_and_some_are_sparse():
    theta = random_theta(300, (0.1, 0.45), torch.Generator().manual_seed(0))
    assert theta.abs().max() <= 1
    still = (theta == 0).float().mean(1)
    assert 0.2 < (still > 0.4).float().mean() < 0.6


def test_whoever_knows_the_truth_is_right_and_who_says_nothing_is_not():
    truths = {}
    for number, photo in enumerate(PHOTOS):
        images, truth, reference = developments(photo, 7, number, 48)
        assert torch.equal(reference, images[0])  # neutral where there is no prior
        truths[images[1].sum().item()] = truth

    def knowing(images, reference):
        truth = truths[images[1].sum().item()]
        labs = [rgb2lab(x.permute(0, 2, 3, 1).numpy()) for x in (images, truth[None])]
        return -torch.from_numpy(deltaE_ciede2000(labs[1], labs[0]).mean((1, 2)))

    told = pair_accuracy(knowing, PHOTOS, long_side=48)
    assert told["right where they differ by more than 2"] == 1
    assert told["pairs that differ by more than 2"] >= told["pairs that differ by more than 5"] > 0
    wrong = pair_accuracy(lambda *both: -knowing(*both), PHOTOS, long_side=48)
    assert wrong["right where they differ by more than 5"] == 0
    silent = pair_accuracy(lambda images, _: torch.zeros(len(images)), PHOTOS, long_side=48)
    assert silent["right where they differ by more than 2"] == 0


@pytest.fixture(scope="module")
def biq2021(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("biq2021")
    (folder / "Images").mkdir()
    rows = ["Image Name,MOS,,"]
    for number, (name, pixels) in enumerate(photographs(12).items()):
        Image.fromarray(pixels).save(folder / "Images" / name)
        rows.append(f"{name},{0.6 + 0.02 * number},,")
    (folder / "Train (Images and MOS).csv").write_text("\n".join(rows) + "\n")
    return folder


def test_the_last_lesson_whole_by_its_script(biq2021, tmp_path):
    photos = folder_of_photographs(tmp_path / "photos", 20)
    start = tiny_judge(tmp_path / "start")
    settings = learn_developments.Settings(
        TruthSettings(photos, biq2021, mos_test=(0, 4)),
        prior=str(tiny_agent(tmp_path / "prior")),
        start=start,
        out=tmp_path / "out",
        weights=tmp_path / "weights",
        name="taught",
        cache=tmp_path / "cache",
        lesson=DevelopmentLesson(features=8, head_steps=2, steps=3, photos=2, crop=48),
        developments=replace(SETTINGS, ascended_every=1),
        watched=1,
    )
    learn_developments.main(settings)
    net, card = load_checkpoint(tmp_path / "weights" / "taught.safetensors")
    before, _ = load_checkpoint(Path(start))
    assert isinstance(net, QualityNet)
    assert isinstance(before, QualityNet)
    head = "development.compare.0.weight"
    assert not torch.equal(net.state_dict()[head], before.state_dict()[head])
    assert "developments of held-out photographs" in card.metrics
    assert "five crops" in card.metrics[f"test, {card.settings.get('test', 4)} photographs"]
    assert card.settings["developments"]["start"].startswith("tiny ")
    assert str(tmp_path) not in json.dumps(card.training)
    history = json.loads((tmp_path / "out" / "results.json").read_text())["history"]
    assert ["score kept" in step for step in history] == [False, False, True]

    evaluate_developments.main(
        evaluate_developments.Settings(
            photos,
            prior=settings.prior,
            model=str(tmp_path / "weights" / "taught.safetensors"),
            long_side=48,
            out=tmp_path / "pairs.json",
        )
    )
    told = json.loads((tmp_path / "pairs.json").read_text())
    assert 0 <= told["right where they differ by more than 2"] <= 1
    assert "by colour difference to the prior's development alone" in told


def test_a_model_is_tested_on_what_its_own_training_left(biq2021, tmp_path, monkeypatch):
    """Its card's split counts, not that of another model."""
    drawn = []

    def split(count, validation, test, seed):
        drawn.append((test, seed))
        raise KeyboardInterrupt

    monkeypatch.setattr(learn_developments, "random_split", split)
    start = load_model(tiny_judge(tmp_path / "start"))
    for own, expected in (({}, (4, 0)), ({"split_seed": 5, "test": 3}, (3, 5))):
        known = QualityModel(start.net, replace(start.card, settings=own))
        monkeypatch.setattr(learn_developments, "load_model", lambda source, k=known: k)
        with pytest.raises(KeyboardInterrupt):
            learn_developments.main(
                learn_developments.Settings(
                    TruthSettings(tmp_path, biq2021, mos_test=(0, 4)), out=tmp_path / "out"
                )
            )
        assert drawn.pop() == expected


def test_limits_say_once_what_a_model_compares_with():
    first = learn_developments.limits("No measure of art.", beside_prior=True)
    assert first.startswith("No measure of art. It compares developments of one shot")
    assert "a prior's development" in first
    again = learn_developments.limits(first, beside_prior=False)
    assert again.count("It compares") == 1
    assert "its neutral rendering" in again


def test_what_is_not_to_be_forgotten_must_be_named(tmp_path):
    settings = learn_developments.Settings(TruthSettings(tmp_path))
    with pytest.raises(ValueError, match=r"truths\.biq2021: needed"):
        learn_developments.main(settings)
