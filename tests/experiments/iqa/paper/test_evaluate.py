"""The small reproduction on a dozen generated photographs with a tiny network."""

import json
import shlex
from dataclasses import replace
from itertools import combinations
from typing import get_args

import numpy as np
import pytest
import torch
import tyro
from PIL import Image
from safetensors.torch import save_file

from attiqa.attributes import ATTRIBUTES
from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.errors import CheckpointError
from attiqa.model.architecture import Architecture
from attiqa.model.networks import AttributeNet
from attiqa.teachers.teacher import MeasuredTeacher
from attiqa.training.settings import FinetuneSettings, PretrainSettings, Schedule
from experiments.iqa.paper import cells as reward_cells
from experiments.iqa.paper import evaluate
from experiments.iqa.paper.cells import (
    Initialisation,
    OneAttribute,
    Settings,
    prepare,
    starting_point,
)
from experiments.iqa.paper.evaluate import main
from experiments.iqa.paper.report import markdown, tabulate

SCHEDULE = Schedule(epochs=2, batch_size=8, crops=CropSettings(48, (48, 56)), workers=0)
TINY = Architecture("test_efficientnet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 8, 8)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    """Sixty gradients and noises in the layout of BIQ2021, brighter ones rated higher."""
    folder, random = tmp_path_factory.mktemp("biq"), np.random.default_rng(0)
    (folder / "Images").mkdir()
    rows = ["Image Name,MOS,,"]
    for index in range(60):
        pixels = random.uniform(0, 60 + 3 * index, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "Images" / f"{index}.jpg")
        rows.append(f"{index}.jpg,{index / 60:.3f},,")
    (folder / "Train (Images and MOS).csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(1)
    save_file(
        {
            name: value
            for name, value in AttributeNet(TINY).backbone.state_dict().items()
            if not name.endswith("num_batches_tracked")
        },
        folder / "imagenet.safetensors",
    )
    return Settings(
        folder,
        folder / "imagenet.safetensors",
        out=folder / "out",
        labels=("linear probe", "all labels"),
        initialisations=("ImageNet", "five attributes"),
        splits=2,
        reserved=20,
        cache_side=56,
        architecture=TINY,
        protocol=CropProtocol(56, 48),
        evaluate_every=1,
        pretraining=PretrainSettings(SCHEDULE),
        finetuning=FinetuneSettings(SCHEDULE),
    )


@pytest.fixture(scope="module")
def results(settings) -> dict:
    main(settings)
    return json.loads((settings.out / "results.json").read_text())


def test_every_cell_is_there_with_three_selections(results, settings):
    assert len(results["cells"]) == 2 * 2 * 2
    for cell in results["cells"]:
        assert set(cell["selected"]) == {"last epoch", "selected on validation", "best on test"}
        assert -1 <= cell["selected"]["last epoch"]["test"]["srocc"] <= 1
    assert "stand-in for CLIP" in results["teacher"]


def test_all_starts_share_the_splits(results):
    for repeat in (1, 2):
        cells = [cell for cell in results["cells"] if cell["repeat"] == repeat]
        assert len({json.dumps(cell["split"]) for cell in cells}) == 1
    splits = {cell["split"]["sha256"] for cell in results["cells"]}
    assert len(splits) == 2


def test_what_is_pretrained_on_is_never_tested_on(results, settings):
    laboratory = prepare(settings)
    names = set(laboratory.photos.names)
    assert len(names) == len(laboratory.pixels) == 40
    assert len(laboratory.unlabelled) == 20
    tested = {image.tobytes() for image in np.asarray(laboratory.pixels)}
    assert not tested & {image.tobytes() for image in np.asarray(laboratory.unlabelled)}


def test_a_restart_reads_what_is_there(results, settings, monkeypatch):
    def fail(*_):
        raise AssertionError("a finished cell was computed again")

    before = (settings.out / "results.json").read_bytes()
    monkeypatch.setattr(reward_cells, "starting_point", fail)
    main(settings)
    assert (settings.out / "results.json").read_bytes() == before
    cells = sorted((settings.out / "cells").iterdir())
    assert {path.suffix for path in cells} == {".json"}  # training states are gone


def test_cells_of_other_settings_are_refused(results, settings):
    with pytest.raises(CheckpointError, match="other settings"):
        main(replace(settings, evaluate_every=2))


def test_starts_from_imagenet_need_its_weights(settings, tmp_path):
    with pytest.raises(CheckpointError, match="--init"):
        main(replace(settings, init=None, out=tmp_path))


def test_every_start_is_another_network_and_always_the_same(results, settings):
    laboratory = prepare(replace(settings, out=settings.out / "starts"))
    starts = {}
    for init in get_args(Initialisation):
        nets = [starting_point(laboratory, init) for _ in range(2)]  # the second one is read
        first, second = (
            torch.cat([p.detach().flatten() for p in net.parameters()]) for net in nets
        )
        assert torch.equal(first, second), init
        starts[init] = first
    for one, other in combinations(starts, 2):
        assert not torch.equal(starts[one], starts[other]), (one, other)


def test_report_and_figure_name_the_teacher(results, settings):
    text = (settings.out / "evaluate_reward.md").read_text()
    assert "offline stand-in for CLIP" in text
    with Image.open(settings.out / "evaluate_reward.png") as figure:
        assert min(figure.size) > 400


def test_one_attribute_is_the_teachers_column():
    images = torch.rand(3, 3, 32, 32)
    teacher = OneAttribute(MeasuredTeacher(), "contrast")
    column = MeasuredTeacher()(images)[:, [ATTRIBUTES.index("contrast")]]
    assert torch.equal(teacher(images), column)
    assert "contrast" in teacher.name


def test_the_command_of_the_papers_scale_is_understood():
    command = (evaluate.__doc__ or "").split("python experiments/iqa/paper/evaluate.py")[2]
    settings = tyro.cli(Settings, args=shlex.split(command.replace("\\\n", " ")))
    assert settings.architecture == Architecture()
    assert settings.protocol == CropProtocol(340, 320)
    assert settings.finetuning.schedule.crops == CropSettings(320, (340, 340))
    assert settings.cache_side is None


def cell(init: str, labels: str, repeat: int, srocc: float) -> dict:
    test = {"srocc": srocc, "plcc": srocc, "srocc_low": srocc - 0.1, "srocc_high": srocc + 0.1}
    names = ("last epoch", "best on test")
    selected = {name: {"test": test} for name in names} | {"selected on validation": None}
    return {"init": init, "labels": labels, "repeat": repeat, "selected": selected} | {
        "drift": {"mean": srocc / 2}
    }


def test_table_by_hand():
    cells = [
        cell(init, "all labels", repeat, srocc)
        for init, values in {"ImageNet": (0.5, 0.7, 0.6), "L2 loss": (0.6, 0.6, 0.9)}.items()
        for repeat, srocc in enumerate(values, 1)
    ]
    entry = tabulate(cells)["all labels"]["L2 loss"]
    assert entry["gain_over_imagenet"] == pytest.approx([0.1, -0.1, 0.3])
    assert entry["drift"]["median"] == pytest.approx(0.3)
    assert entry["selected"]["selected on validation"] is None
    text = markdown(tabulate(cells), "title")
    assert "| L2 loss | 0.600 (0.600 to 0.900) |" in text
    assert "| L2 loss | +0.100 (-0.100 to +0.300) |" in text
    assert "| ImageNet | 0.600 / - / 0.600 |" in text
