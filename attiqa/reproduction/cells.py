"""What each kind of cell computes; every training continues where it was stopped."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attiqa.attributes import PROMPTS, QUALITY_PROMPT, PromptPair
from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.photo_folder import PhotoFiles, list_photos
from attiqa.data.preference_pairs import read_preferences
from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.data.splits import random_splits, training_subset
from attiqa.evaluation.fits import FinetuneFit, ProbeFit, fresh_copies
from attiqa.evaluation.metrics import preference_accuracy, srocc
from attiqa.evaluation.predictions import backbone_features, head_features, quality_scores
from attiqa.evaluation.protocols import feature_drift, measure_scores, one_split
from attiqa.evaluation.run_folder import write_predictions
from attiqa.evaluation.trained_networks import save_trained
from attiqa.files import write_atomically
from attiqa.labels.labelling import Labelling, label_folder
from attiqa.labels.loading import Loading
from attiqa.labels.photo_batches import Cut
from attiqa.labels.store import read_labels
from attiqa.model.architecture import Architecture
from attiqa.model.cards import Card
from attiqa.model.checkpoints import load_backbone, load_checkpoint, save_checkpoint
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.provenance.versions import versions
from attiqa.reproduction.items import Cell, cross_sets, fine_tuned
from attiqa.reproduction.laboratory import Laboratory
from attiqa.reproduction.plan_file import Plan
from attiqa.reproduction.starts import Labelling as Labels
from attiqa.reproduction.starts import Start
from attiqa.teachers.embedding_cache import EmbeddingCache
from attiqa.teachers.prompt_search import rated_attributes, search_prompts
from attiqa.teachers.selected_prompts import read_prompts
from attiqa.teachers.teacher import ClipTeacher, MeasuredTeacher
from attiqa.training.pretraining import pretrain

MEASURED_SIDE = 512
"""Pixels of the square that the measured teacher sees."""


def compute(laboratory: Laboratory, cell: Cell) -> dict[str, Any]:
    """Compute a cell whose needs are done; the result is ready for JSON."""
    kinds = {
        "prompts": choose_prompts,
        "labels": label,
        "pretrain": pretrained,
        "fine-tune": finetuned,
        "probe": probed,
        "apply": applied,
    }
    return kinds[cell.kind](laboratory, cell)


def choose_prompts(laboratory: Laboratory, cell: Cell) -> dict[str, Any]:
    """Choose the prompts of each attribute (section 3.3); all tables go to prompts.json."""
    plan = laboratory.plan
    assert plan.clean is not None
    spaq = plan.spaq or plan.datasets["spaq"]
    teacher = _clip(laboratory, PROMPTS)
    cache = EmbeddingCache(teacher, laboratory.out / "embeddings", 64)
    rated = rated_attributes(spaq, subset=plan.subset)
    results, record = search_prompts(cache, list_photos(plan.clean), rated)
    record["versions"] = versions()
    write_atomically(_prompt_file(laboratory), (json.dumps(record) + "\n").encode())
    found = {}
    for attribute, scores in results.items():
        selected = record["attributes"][attribute]
        found[attribute] = {
            "best": scores.describe(*scores.place("best")),
            "table_1": selected["table_1"],
        }
    return found


def label(laboratory: Laboratory, cell: Cell) -> dict[str, Any]:
    """Label the unlabelled photographs by one choice of prompts, or by measurement."""
    plan, folder = laboratory.plan, laboratory.unlabelled_folder()
    store = laboratory.file("labels", cell, "")
    device = str(laboratory.fabric.device)
    if plan.teacher == "measured":
        cut = Cut(plan.view, MEASURED_SIDE)
        about = {"teacher": MeasuredTeacher.name}
        labelling = Labelling(MeasuredTeacher(), cut, about, device)
    else:
        prompts = _prompts(laboratory, cell.data)
        teacher = _clip(laboratory, prompts)
        about = teacher.describe() | {"prompts_from": cell.data}
        for name in ("view", "side", "resize"):  # the workers' cut says these
            del about[name]
        cut = Cut(plan.view, teacher.side)
        labelling = Labelling(teacher, cut, about, device, tuple(prompts))
    label_folder(folder, store, labelling, Loading(workers=laboratory.threads))
    labels = read_labels(store)
    return {"labelled": len(labels.paths), "rejected": len(labels.rejects), "teacher": about}


def pretrained(laboratory: Laboratory, cell: Cell) -> dict[str, Any]:
    """Pretrain a start on its labels; its network is kept."""
    plan, start = laboratory.plan, laboratory.starts[cell.start]
    assert start.labelling is not None
    assert start.pretraining is not None
    labels = read_labels(laboratory.file("labels", labels_of(start.labelling), ""))
    columns = [labels.attributes.index(name) for name in start.attributes]
    folder = laboratory.unlabelled_folder()
    photos = laboratory.unlabelled([folder / path for path in labels.paths])
    net = new_network(laboratory.plan, start.architecture)
    if plan.init is not None:
        load_backbone(net, plan.init)
    state = laboratory.file("states", cell, ".ckpt")
    state.parent.mkdir(parents=True, exist_ok=True)
    history = pretrain(
        laboratory.fabric, net, photos, labels.deltas[:, columns], start.pretraining, state
    )
    card = Card(
        name=laboratory.file("networks", cell, "").name,
        kind="AttributeNet",
        architecture=start.architecture,
        protocol=CropProtocol(),
        scale=None,
        teacher=f"labels of {json.dumps(labels.manifest['teacher'])}",
        training={
            "labels": dict(labels.manifest),
            "photographs": len(labels.paths),
            "init": plan.init.name if plan.init else "random",
        },
        settings=asdict(start.pretraining),
        metrics={"last epoch": history[-1]},
        versions=versions(),
        limits="Orders photographs by attributes, as its teacher does; no quality score.",
        attributes=start.attributes,
    )
    save_checkpoint(laboratory.out / "networks", net, card)
    state.unlink(missing_ok=True)
    return {"photographs": len(labels.paths), "history": history}


def finetuned(laboratory: Laboratory, cell: Cell) -> dict[str, Any]:
    """Fine-tune on one division and test on its rest, and on all other data sets of Table 3."""
    plan, photos = laboratory.plan, laboratory.photos(cell.data)
    split = laboratory.split(cell.data, cell.split)
    settings, whole = plan.finetuning, cell.share == 100
    if not whole:
        split = training_subset(split, cell.share / 100)
        epochs = plan.few_epochs or settings.schedule.epochs
        settings = replace(settings, schedule=replace(settings.schedule, epochs=epochs))
    names = cross_sets(plan, cell)
    others = [laboratory.photos(name) for name in names]
    by_name = {laboratory.photos(name).name: name for name in (cell.data, *names)}
    net = network(laboratory, laboratory.starts[cell.start])
    drift: dict[str, Any] = {}

    def pixels(rated: RatedPhotos, rows: np.ndarray) -> Any:
        return laboratory.pixels(by_name[rated.name], rows)

    def trained(quality: QualityNet, rated: RatedPhotos, division: Split) -> None:
        tested = pixels(rated, division.test)
        before, after = (
            backbone_features(each, tested, plan.protocol).mean(1)
            for each in (net, quality.attribute_net)
        )
        drift.update(feature_drift(before, after))
        if whole and cell.data == plan.applied and cell.split == 1:
            save_trained(
                laboratory.out / "networks",
                laboratory.file("networks", cell, "").name,
                quality,
                rated,
                division,
                pixels(rated, division.train),
                plan.protocol,
                settings,
                cell.start,
            )

    states = laboratory.file("states", cell, "")
    states.mkdir(parents=True, exist_ok=True)
    fit = FinetuneFit(
        laboratory.fabric,
        fresh_copies(net, settings.schedule.seed),
        settings,
        plan.protocol,
        states,
        every=0,
        pixels=pixels,
        trained=trained,
    )
    record, predictions = one_split(photos, split, fit, others)
    across = {}
    for name, other in zip(names, others, strict=True):
        scores = predictions[other.name]
        tested = _test_part(laboratory, name, cell.split)
        across[name] = {
            part: srocc(scores[rows], other.mos[rows])
            for part, rows in (("all", np.arange(len(scores))), ("test", tested))
        }
    path = laboratory.file("predictions", cell, ".csv")
    write_predictions(path, predictions, photos, split, others)
    shutil.rmtree(states)
    return record | {"drift": drift, "across": across}


def probed(laboratory: Laboratory, cell: Cell) -> dict[str, Any]:
    """Probe frozen features on all divisions; features are computed once."""
    plan, photos = laboratory.plan, laboratory.photos(cell.data)
    start = laboratory.starts[cell.start]
    net = network(laboratory, start)
    pixels = laboratory.pixels(cell.data, np.arange(len(photos.paths)))
    backbone = backbone_features(net, pixels, plan.protocol)
    probes = {"mlp": (backbone, plan.probe), "ridge": (backbone, None)}
    if not start.baseline:
        probes["heads"] = (head_features(net, pixels, plan.protocol), plan.probe)
    numbers = range(1, len(fine_tuned(plan, cell.start, cell.data)) + 1)
    splits = [laboratory.split(cell.data, number) for number in numbers]
    found: dict[str, Any] = {}
    for name, (features, mlp) in probes.items():
        fit = ProbeFit(lambda _, rows, f=features: f[rows], mlp)
        runs = [one_split(photos, split, fit)[0]["selected"]["last epoch"] for split in splits]
        found[name] = {
            metric: [run["test"][metric] for run in runs] for metric in ("srocc", "plcc")
        }
    return found


def applied(laboratory: Laboratory, cell: Cell) -> dict[str, Any]:
    """Score generated images with a network of another data set (section 5.1)."""
    plan = laboratory.plan
    source = fine_tuned(plan, cell.start, cell.data)[cell.split - 1]
    net, card = load_checkpoint(laboratory.file("networks", source, ".safetensors"))
    assert isinstance(net, QualityNet)
    net.to(laboratory.fabric.device)
    if cell.target == "pairs":
        assert plan.pairs is not None
        return _preferences(net, plan.pairs, card.protocol)
    photos = laboratory.photos(cell.target)
    rows = np.arange(len(photos.paths))
    scores = quality_scores(net, laboratory.pixels(cell.target, rows), card.protocol)
    path = laboratory.file("predictions", cell, ".csv")
    write_predictions(path, {"all": scores}, photos)
    return measure_scores(scores, photos, rows)


def network(laboratory: Laboratory, start: Start) -> AttributeNet:
    """Load the network that a row starts from, on the laboratory's device."""
    if start.baseline is not None:
        net = new_network(laboratory.plan, start.architecture)
        load_backbone(net, laboratory.plan.baselines[start.baseline].init)
    else:
        path = laboratory.file("networks", Cell("pretrain", start.name), ".safetensors")
        net, _ = load_checkpoint(path)
        assert isinstance(net, AttributeNet)
    return net.to(laboratory.fabric.device)


def new_network(plan: Plan, architecture: Architecture) -> AttributeNet:
    """Make a network with random weights, the same each time."""
    torch.manual_seed(plan.finetuning.schedule.seed)
    return AttributeNet(architecture)


def labels_of(labelling: Labels) -> Cell:
    """Return the cell that makes labels."""
    return Cell("labels", data=labelling.name)


def _preferences(net: QualityNet, table: Path, protocol: CropProtocol) -> dict[str, Any]:
    paths, preferences = read_preferences(table)
    scores = quality_scores(net, PhotoFiles(paths), protocol)
    first, second = scores[preferences.first], scores[preferences.second]
    found = preference_accuracy(first - second, preferences.shares - 0.5)
    return {
        "accuracy": found.share,
        "pairs": found.pairs,
        "scores": np.stack([first, second], 1).tolist(),
    }


def _clip(laboratory: Laboratory, prompts: Mapping[str, PromptPair]) -> ClipTeacher:
    clip = laboratory.plan.clip
    device = laboratory.fabric.device
    return ClipTeacher(clip.architecture, clip.pretrained, device, prompts=prompts)


def _prompts(laboratory: Laboratory, name: str) -> dict[str, PromptPair]:
    if name == "paper":
        return dict(PROMPTS)
    if name == "quality":
        return dict(QUALITY_PROMPT)
    for start in laboratory.starts.values():
        if start.labelling is not None and start.labelling.name == name:
            chosen = start.labelling
            return read_prompts(_prompt_file(laboratory), chosen.place, chosen.task)
    raise KeyError(name)


def _prompt_file(laboratory: Laboratory) -> Path:
    return laboratory.out / "prompts.json"


def _test_part(laboratory: Laboratory, name: str, number: int) -> np.ndarray:
    """Return the official test part of a data set, or that of the division of this number."""
    photos = laboratory.photos(name)
    if photos.split is not None and len(photos.split.test):
        return photos.split.test
    return random_splits(len(photos.paths), number, validation=0.0)[number - 1].test
