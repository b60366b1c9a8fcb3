"""`attiqa pretrain` and `attiqa finetune` from files to files."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tyro
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from attiqa.cli import finetune, pretrain
from attiqa.cli.settings.machine import Machine
from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.preference_pairs import Preferences
from attiqa.data.rated_photos import Split
from attiqa.errors import CheckpointError, DatasetLayoutError
from attiqa.labels.store import Labels
from attiqa.model.cards import Card, Scale
from attiqa.model.checkpoints import load_checkpoint, save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.training.mixture import mix
from attiqa.training.settings import FinetuneSettings, PretrainSettings, Schedule

SCHEDULE = Schedule(epochs=2, batch_size=4, crops=CropSettings(32, (40, 48)), workers=0)
CPU = Machine("cpu")


@pytest.fixture
def biq(tmp_path, small):
    """Twenty photographs in the layout of BIQ2021."""
    (tmp_path / "Images").mkdir()
    rows = ["Image Name,MOS"]
    for index in range(20):
        pixels = (small[index % 4] * (0.4 + 0.03 * index) * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / "Images" / f"{index:02}.png")
        rows.append(f"{index:02}.png,{0.1 + 0.04 * index}")
    (tmp_path / "Train (Images and MOS).csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("began", "machine", "expected"),
    [
        ({}, CPU, (1, 1)),
        ({"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, CPU, (4, 2)),
        ({"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "4"}, Machine("cpu", devices=2), (2, 1)),
    ],
)
def test_all_processes_of_torchrun_train_together(monkeypatch, began, machine, expected):
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in began.items():
        monkeypatch.setenv(name, value)
    assert machine.size == expected


def test_from_photographs_to_a_quality_model(biq, tiny, tmp_path):
    out = tmp_path / "pretrained"
    settings = PretrainSettings(SCHEDULE, distorted=0.0)
    pretrain.main(
        pretrain.Settings(
            biq / "Images",
            teacher="measured",
            architecture=tiny,
            pretraining=settings,
            machine=CPU,
            out=out,
        )
    )
    net, card = load_checkpoint(out / "pretrained.safetensors")
    assert isinstance(net, AttributeNet)
    assert (card.teacher, card.training["photographs"]) == ("measured", 20)
    assert len(json.loads((out / "history.json").read_text())) == 2

    out = tmp_path / "finetuned"
    finetune.main(
        finetune.Settings(
            biq,
            dataset="biq2021-train",
            subset=True,
            model=str(tmp_path / "pretrained" / "pretrained.safetensors"),
            validation=0.1,
            finetuning=FinetuneSettings(SCHEDULE),
            protocol=CropProtocol(40, 32, further=(0,)),
            machine=CPU,
            out=out,
        )
    )
    net, card = load_checkpoint(out / "finetuned.safetensors")
    assert isinstance(net, QualityNet)
    assert card.protocol == CropProtocol(40, 32, further=(0,))
    assert card.teacher == "measured"
    assert card.scale is not None
    assert (card.scale.low, card.scale.high) == (0.0, 1.0)
    assert [card.training["split"][part] for part in ("train", "validation", "test")] == [14, 2, 4]
    (*_, last) = json.loads((out / "history.json").read_text())
    assert {"mos", "validation/srocc", "test/srocc", "test/plcc"} <= set(last)
    assert len(card.metrics) == 3  # the last epoch, the best on validation, the best on test
    assert all({"epoch", "test"} <= set(chosen) for chosen in card.metrics.values())
    history = json.loads((out / "history.json").read_text())
    logged = EventAccumulator(str(next(out.glob("tensorboard/version_*")))).Reload()
    for name in ("mos", "validation/srocc", "test/srocc"):
        events = logged.Scalars(name)
        assert [event.step for event in events] == [0, 1]
        assert [event.value for event in events] == pytest.approx([e[name] for e in history])
    assert logged.Scalars("learning rate")[-1].value < 1e-4  # at the end of its cycle


def test_pretraining_on_stored_labels_takes_their_order(biq, tiny, tmp_path, monkeypatch):
    paths = sorted(path.name for path in (biq / "Images").iterdir())[:16]
    deltas = np.random.default_rng(0).normal(size=(16, 5))
    manifest = {"teacher": {"name": "clip"}}
    stored = Labels(tuple(paths), deltas, {}, manifest)
    monkeypatch.setattr(pretrain, "read_averaged_labels", lambda stores: stored)
    seen = {}

    def spy(fabric, net, photos, teacher, settings, state):
        seen.update(paths=[path.name for path in photos.paths], labels=teacher)
        return [{"ranking": 0.5}]

    monkeypatch.setattr(pretrain, "pretrain", spy)
    settings = pretrain.Settings(
        biq / "Images", labels=(tmp_path / "labels",), architecture=tiny, machine=CPU, out=tmp_path
    )
    pretrain.main(replace(settings, pretraining=PretrainSettings(SCHEDULE, distorted=0.0)))
    assert seen["paths"] == paths
    assert seen["labels"] is deltas
    _, card = load_checkpoint(tmp_path / "pretrained.safetensors")
    assert "clip" in card.teacher


def test_another_split_or_model_does_not_take_over_a_finished_run(biq, tiny, tiny_net, tmp_path):
    models = []
    for name in ("one", "other"):
        tiny_net.attribute_net.last[0].bias.data.add_(1.0)
        card = Card(
            name, "AttributeNet", tiny, CropProtocol(40, 32), None, "none", {}, {}, {}, {}, ""
        )
        models.append(str(save_checkpoint(tmp_path, tiny_net.attribute_net, card)))
    first = finetune.Settings(
        biq,
        dataset="biq2021-train",
        subset=True,
        model=models[0],
        finetuning=FinetuneSettings(replace(SCHEDULE, epochs=1)),
        protocol=CropProtocol(40, 32),
        machine=CPU,
        out=tmp_path / "out",
    )
    finetune.main(first)
    written = (first.out / "finetuned.json").read_text()
    for other, message in (
        (replace(first, split_seed=1), "photographs was"),
        (replace(first, model=models[1]), "initial weights was"),
        (
            replace(first, protocol=CropProtocol(48, 32)),
            "evaluation.protocol.short_side was 40, now 48",
        ),
        (
            replace(first, protocol=CropProtocol(40, 32, further=(48, 0))),
            r"evaluation.protocol.further was \[\], now \[48, 0\]",
        ),
    ):
        with pytest.raises(CheckpointError, match=rf"state\.ckpt: .*{message}"):
            finetune.main(other)
    finetune.main(first)  # nothing to do
    assert json.loads((first.out / "finetuned.json").read_text()) == json.loads(written)


def test_scales_on_the_command_line():
    arguments = ["KONIQ", "--crop", "224", "--further", "512", "0"]
    settings = tyro.cli(finetune.Settings, args=arguments)
    assert settings.protocol == CropProtocol(340, 224, (512, 0))
    with pytest.raises(ValueError, match="further: expected 0 or at least the crop's 320"):
        tyro.cli(finetune.Settings, args=["KONIQ", "--further", "224"])


@pytest.fixture
def stars(biq, tmp_path):
    """The same photographs under another name, rated from 1 to 5 the other way round."""
    folder = tmp_path / "stars"
    shutil.copytree(biq / "Images", folder)
    rows = [f"{path.name},{5 - 0.2 * n}" for n, path in enumerate(sorted(folder.iterdir()))]
    (folder / "scores.csv").write_text("\n".join(["name,mos", *rows]) + "\n")
    return folder


def test_a_mixture_maps_scales_and_numbers_sets(biq, stars):
    photos = load_dataset("biq2021-train", biq, subset=True)
    photos = replace(photos, scale=(0.0, 100.0), mos=100 * photos.mos)
    split = Split(np.array([3, 5]), np.array([0]), np.array([1]))
    mixture = mix(photos, split, (f"plain={stars}",), scale=(1.0, 5.0))
    assert mixture.paths[:2] == tuple(photos.paths[row] for row in (3, 5))
    assert [path.parent for path in mixture.paths[2:]] == [stars] * 20
    assert mixture.sets.tolist() == [0] * 2 + [1] * 20
    assert mixture.mos[:2] == pytest.approx(photos.mos[[3, 5]])
    assert mixture.mos[2:] == pytest.approx(100 - 5 * np.arange(20))
    assert mixture.others == {"stars": 20}
    assert np.isnan(mixture.deviations).all()
    rows = [f"{path.name},3,0.5" for path in sorted(stars.glob("*.png"))]
    (stars / "scores.csv").write_text("\n".join(["name,mos,std", *rows]) + "\n")
    photos = replace(photos, deviations=np.full(20, 30.0))
    mixture = mix(photos, split, (f"plain={stars}",), scale=(1.0, 5.0))
    assert mixture.deviations == pytest.approx([30.0] * 2 + [12.5] * 20)  # an eighth of the scale


def test_a_data_set_is_not_mixed_with_itself(biq):
    photos = load_dataset("biq2021-train", biq, subset=True)
    split = Split(np.array([3, 5]), np.array([0]), np.array([1]))
    with pytest.raises(DatasetLayoutError, match="BIQ2021 is there already"):
        mix(photos, split, (f"biq2021-train={biq}",), subset=True)


def test_learning_from_two_data_sets(biq, stars, tiny, tmp_path):
    settings = finetune.Settings(
        biq,
        "biq2021-train",
        scale=(1.0, 5.0),
        subset=True,
        mixed=(f"plain={stars}",),
        architecture=tiny,
        finetuning=FinetuneSettings(SCHEDULE, plcc_weight=0.1),
        protocol=CropProtocol(40, 32),
        machine=CPU,
        out=tmp_path / "mixed",
    )
    finetune.main(settings)
    _, card = load_checkpoint(tmp_path / "mixed" / "finetuned.safetensors")
    assert card.training["mixed"] == {"stars": 20}
    assert card.training["data"] == "BIQ2021 and stars"  # neither is zero-shot for it
    assert card.scale is not None
    assert (card.scale.low, card.scale.high) == (0.0, 1.0)


def test_distilling_a_model_into_a_smaller_one(biq, stars, tiny, tiny_net, tmp_path):
    scale = Scale(1.0, 5.0, "stars")
    card = Card(
        *("large", "QualityNet", tiny, CropProtocol(40, 32), scale, "none", {"data": "SPAQ"}),
        *({}, {}, {}, ""),
    )
    settings = finetune.Settings(
        biq,
        "biq2021-train",
        subset=True,
        distilled=str(save_checkpoint(tmp_path, tiny_net, card)),
        unlabelled=stars,
        architecture=tiny,
        finetuning=FinetuneSettings(SCHEDULE, distillation_weight=1.0),
        protocol=CropProtocol(40, 32),
        machine=CPU,
        out=tmp_path / "small",
    )
    finetune.main(settings)
    _, written = load_checkpoint(tmp_path / "small" / "finetuned.safetensors")
    assert written.training["unrated"] == 20
    # what it learnt at second hand is no zero-shot for it either
    assert "BIQ2021 and unrated photographs of stars and what large" in written.training["data"]
    assert written.training["data"].endswith("was trained on, SPAQ")
    assert written.training["distilled"].startswith("large ")
    history = json.loads((tmp_path / "small" / "history.json").read_text())
    assert history[-1]["distillation"] < history[0]["distillation"]
    with pytest.raises(DatasetLayoutError, match=r"unlabelled: .* is kept aside"):
        finetune.main(replace(settings, unlabelled=biq / "Images", out=tmp_path / "leak"))


@pytest.fixture
def pairs(stars):
    """Ten pairs of the same photographs, the brighter one preferred."""
    rows = [f"{2 * n + 1:02}.png,{2 * n:02}.png,0.9" for n in range(10)]
    table = stars / "pairs.csv"
    table.write_text("\n".join(["first,second,preference", *rows]) + "\n")
    return table


def test_learning_from_preferences_alone(pairs, tiny, tmp_path):
    settings = finetune.Settings(
        pairs=pairs,
        architecture=tiny,
        validation=0.1,
        finetuning=FinetuneSettings(replace(SCHEDULE, batch_size=3)),
        protocol=CropProtocol(40, 32),
        machine=CPU,
        out=tmp_path / "compared",
    )
    settings.check()
    finetune.main(settings)
    net, card = load_checkpoint(tmp_path / "compared" / "finetuned.safetensors")
    assert isinstance(net, QualityNet)
    split = {part: card.training["split"][part] for part in ("train", "validation", "test")}
    assert split == {"train": 7, "validation": 1, "test": 2}
    assert (card.training["data"], card.training["preferences"]) == ("preferences of pairs.csv", 7)
    assert card.scale is not None
    assert "an opinion deviates by 0.15" in card.scale.meaning
    assert set(card.metrics["last epoch"]["test"]) == {"preference_accuracy", "preferences"}
    history = json.loads((tmp_path / "compared" / "history.json").read_text())
    assert [epoch["test/preferences"] for epoch in history] == [2.0, 2.0]
    other = replace(settings, finetuning=replace(settings.finetuning, opinion_deviation=0.2))
    with pytest.raises(CheckpointError, match=r"opinion_deviation was 0\.15, now 0\.2"):
        finetune.main(other)
    pairs.write_text(pairs.read_text().replace("0.9", "0.8"))
    with pytest.raises(CheckpointError, match=r"preferences\.shares was"):
        finetune.main(settings)


def test_learning_from_scores_and_preferences(biq, pairs, tiny, tmp_path):
    settings = finetune.Settings(
        biq,
        "biq2021-train",
        subset=True,
        pairs=pairs,
        architecture=tiny,
        finetuning=FinetuneSettings(SCHEDULE, fidelity_weight=0.5, preference_loss="fidelity"),
        protocol=CropProtocol(40, 32),
        machine=CPU,
        out=tmp_path / "both",
    )
    finetune.main(settings)
    _, card = load_checkpoint(tmp_path / "both" / "finetuned.safetensors")
    assert card.training["data"] == "BIQ2021 and preferences of pairs.csv"
    assert card.training["preferences"] == 10
    assert card.scale is not None
    assert card.scale.meaning == "BIQ2021: mean opinion score"
    (*_, last) = json.loads((tmp_path / "both" / "history.json").read_text())
    assert {"mos", "fidelity", "preferences", "test/srocc"} <= set(last)
    own = pairs.with_name("own.csv")  # some of these are kept aside
    rows = [f"{biq / 'Images' / f'{n:02}.png'},00.png,1" for n in range(20)]
    own.write_text("\n".join(["first,second,preference", *rows]) + "\n")
    with pytest.raises(DatasetLayoutError, match=r"pairs: .*Images.* is kept aside"):
        finetune.main(replace(settings, pairs=own, out=tmp_path / "leak"))


def test_preferences_join_rated_photographs(biq, pairs):
    """A photograph that is rated as well is there once; others are in no set."""
    photos = load_dataset("biq2021-train", biq, subset=True)
    split = Split(np.array([3, 5]), np.array([0]), np.array([1]))
    rated = photos.paths[5]
    other = pairs.with_name("00.png")
    preferences = Preferences(np.array([0]), np.array([1]), np.array([0.7]))
    mixture = mix(photos, split, ()).with_preferences([other, rated], preferences)
    assert mixture.paths == (photos.paths[3], rated, other)
    assert mixture.sets.tolist() == [0, 0, -1]
    assert mixture.preferences is not None
    assert (mixture.preferences.first.tolist(), mixture.preferences.second.tolist()) == ([2], [1])


@pytest.mark.parametrize("wrong", [{}, {"official": True}, {"mixed": ("a=b",)}])
def test_nothing_to_learn_from(wrong, tmp_path):
    table = tmp_path / "pairs.csv"
    table.touch()
    with pytest.raises(DatasetLayoutError, match="data: expected the folder of a data set"):
        finetune.Settings(**wrong, pairs=table if wrong else None).check()
    with pytest.raises(DatasetLayoutError, match="no such table of pairs"):
        finetune.Settings(pairs=tmp_path / "none.csv").check()
