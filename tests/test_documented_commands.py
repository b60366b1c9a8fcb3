"""Every command of the README and the guides runs as it is written, one after the other.

The folders and files that they name hold a few tiny pictures; networks, trainings and counts that
would take long are made smaller (`SHRUNK`), everything else is what the page says.
"""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pytest
import timm
import torch
import tyro
import yaml
from PIL import Image
from safetensors.torch import save_file

from agents.learning.algorithms import PPOSettings
from agents.learning.prior import LessonSettings
from agents.learning.training import Pace
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.cli.settings.machine import Machine
from attiqa.data.crop_protocol import CropProtocol, CropSettings
from attiqa.data.datasets import clive, spaq
from attiqa.labels.loading import Loading
from attiqa.training.settings import Schedule
from tests.attiqa.data.datasets.layouts import write_clive, write_koniq, write_spaq
from tests.experiments.study.tiny_studies import answered, study_of
from tests.experiments.tiny_agents import NETWORK, TINY, tiny_agent, tiny_judge
from tests.isp_env.batch.folders import shoot
from tests.test_docs import ROOT, commands

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
ELSEWHERE = (
    "experiments/iqa/train_model.py",
    "experiments/iqa/learn_developments.py",
    "attiqa export",
)
"""Tests of their own run these: each stage of the embedded models' training, and the export."""
ALONE = ("experiments/enhance.py", "experiments/render.py", "attiqa score")
"""No other command needs what these write: what the README has is not run again for a guide."""

SCHEDULE = Schedule(epochs=1, batch_size=4, crops=CropSettings(32, (40, 48)), workers=0)


def photo(seed: int) -> Image.Image:
    rows, columns = np.mgrid[:72, :96] / (5 + seed % 3)
    planes = [np.sin(rows + seed), np.cos(columns + seed), np.sin(rows * columns / 9)]
    return Image.fromarray((127 + 90 * np.stack(planes, -1)).astype(np.uint8))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> dict[str, ClipEncoder]:
    """A tiny architecture of open_clip, and random weights."""
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    path = tmp_path_factory.mktemp("clip") / "tiny-clip-documented.json"
    path.write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    torch.manual_seed(0)
    weights = path.with_suffix(".pt")
    torch.save(open_clip.create_model(path.stem).state_dict(), weights)
    return {"encoder": ClipEncoder(path.stem, str(weights))}


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, str]:
    """A tiny prior and a tiny judge."""
    folder = tmp_path_factory.mktemp("parts")
    return {"prior": str(tiny_agent(folder / "prior")), "judge": tiny_judge(folder)}


def backbone(path: Path, name: str) -> None:
    torch.manual_seed(0)
    weights = timm.create_model(name, num_classes=0).state_dict()
    save_file({key: value for key, value in weights.items() if value.ndim}, path)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with all that the pages name."""
    monkeypatch.chdir(tmp_path)
    for folder in ("PHOTOS", "OTHERS", "MORE", "2024-05", "IMAGENET", "CLEAN_PHOTOS"):
        (tmp_path / folder).mkdir()
    for number in range(20):  # enough for each part of those that are divided by name
        photo(number).save(tmp_path / "PHOTOS" / f"{number}.png")
    for number in range(8):
        for folder in ("IMAGENET", "CLEAN_PHOTOS")[: 1 + (number < 2)]:
            photo(number).save(tmp_path / folder / f"{number}.jpg")
    photo(0).save(tmp_path / "MORE" / "IMG_1.jpg")
    files = ("PHOTOS/a.dng", "PHOTOS/b.dng", "MORE/IMG_1.CR3", "2024-05/c.NEF", "OTHERS/d.dng")
    for seed, name in enumerate(files):
        shoot(tmp_path / name, seed)
    names, mos = [f"{n}.jpg" for n in range(30)], np.linspace(20, 80, 30).tolist()
    for dataset, images, write in (
        ("KONIQ", "1024x768", write_koniq),
        ("CLIVE", "Images", write_clive),
        ("SPAQ", "TestImage", write_spaq),
    ):
        (tmp_path / dataset / images).mkdir(parents=True)
        write(tmp_path / dataset, names, mos)
        for number, name in enumerate(names):
            photo(number).save(tmp_path / dataset / images / name)
    (tmp_path / "BIQ2021" / "Images").mkdir(parents=True)
    rated = pd.DataFrame({"Image Name": [f"b{name}" for name in names], "MOS": np.divide(mos, 100)})
    rated.to_csv(tmp_path / "BIQ2021" / "Train (Images and MOS).csv", index=False)
    for number, name in enumerate(names):
        photo(number).save(tmp_path / "BIQ2021" / "Images" / f"b{name}")
    for module in (clive, spaq):
        monkeypatch.setattr(module, "ROWS", len(names))
    pairs = {"sharpness": ["Sharp image", "Blurry image"], "brightness": ["Bright", "Dark"]}
    (tmp_path / "PROMPTS.json").write_text(json.dumps(pairs))
    for name in ("RESNET50", "MOBILENETV2", "mobilenetv2_100_imagenet"):
        backbone(tmp_path / f"{name}.safetensors", TINY.backbone)
    backbone(tmp_path / "SIGLIP2.safetensors", "test_vit")
    small = {"size": 32, "short_side": [40, 48]}
    schedule = {"epochs": 1, "batch_size": 4, "crops": small, "workers": 0}
    plan = {
        "datasets": {"koniq": "KONIQ"},
        "subset": True,
        "teacher": "measured",
        "set_aside": 0.4,
        "splits": 1,
        "network": {"backbone": TINY.backbone, "head_features": 8, "regressor_features": 8},
        "pretraining": {"schedule": schedule},
        "finetuning": {"schedule": schedule | {"batch_size": 2}},
        "protocol": {"short_side": 48, "crop": 32},
    }
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(plan))
    for name in ("A", "B"):
        tiny_agent(tmp_path / name, "PPO")
    _, key = study_of(tmp_path / "BEFORE", ("OURS", "THEIRS"), scenes=15, checks=5, repeats=5)
    for name in ("OURS", "THEIRS"):
        (tmp_path / "BEFORE" / name).rename(tmp_path / name)
    for name in ("1", "2"):  # the same names and settings are the same study
        answered(tmp_path / "ANSWERS", key, name, lambda scene, *_: float(scene < "s3"))
    return tmp_path


def shrunk(program: str, settings: Any, clip: dict[str, ClipEncoder], parts: dict[str, str]) -> Any:
    """Return the settings of a command with smaller networks and numbers."""

    def less(**changes: Any) -> Any:
        return replace(settings, **changes)

    def trained(stage: Any) -> Any:
        return replace(stage, schedule=replace(SCHEDULE, seed=stage.schedule.seed))

    cpu, protocol = Machine("cpu"), CropProtocol(48, 32)
    short = PPOSettings(steps=8, rollout=2, batch_size=4, epochs=1, policy=NETWORK)
    match program:
        case "attiqa label":
            return less(loading=Loading(batch_size=4, workers=0, shard_rows=8), **clip)
        case "attiqa select-prompts":
            return less(short_side=48, subset=True, **clip)
        case "attiqa pretrain":
            return less(architecture=TINY, pretraining=trained(settings.pretraining), machine=cpu)
        case "attiqa finetune":
            vit = settings.architecture.backbone.startswith("vit")
            name = "test_vit" if vit else TINY.backbone
            network = replace(settings.architecture, backbone=name, head_features=8)
            return less(
                architecture=network,
                finetuning=trained(settings.finetuning),
                protocol=CropProtocol(160, 160) if vit else protocol,
                subset=True,
                machine=cpu,
            )
        case "attiqa evaluate":
            finetuning = trained(settings.finetuning)
            return less(finetuning=finetuning, short_side=48, crop=32, splits=1, subset=True)
        case "attiqa reproduce":
            return less(device="cpu")
        case "experiments/study/analyse_study.py":
            return less(models=(parts["judge"],), resamples=100)
        case "attiqa compare":
            return less(subset=True, resamples=20)
        case "experiments/iqa/calibrate_uncertainty.py":
            return less(part="all", level=0.5, divisions=2)
        case "experiments/tuning/train_prior.py":
            lesson = LessonSettings(light_batches=2, batches=2)
            return less(lesson=lesson, long_side=48, batch_size=3, watched=1, policy=NETWORK)
        case "experiments/tuning/train_agent.py":
            scenes = replace(settings.scenes, training=6, held_out=5, size=(48, 64))
            pace = Pace(checkpoint=4, evaluation=4)
            few = {"environments": 2, "watched": 2, "pace": pace, "algorithm": short}
            return less(scenes=scenes, **few, **parts)
        case "experiments/isp/build_previews.py":
            return less(side=48)
        case "experiments/tuning/evaluate_agents.py":
            few = {"count": 3, "costly": 1, "random": (1,), "cma": (2,), "gradient": (1,)}
            return less(refined=(2,), referee=parts["judge"], **few, **parts)
        case "experiments/tuning/evaluate_reward_hacking.py":
            return less(count=3, steps=2, looks=(2,), referee=parts["judge"], **parts)
        case _:
            return settings


def program_of(command: list[str]) -> tuple[str, list[str]]:
    first, second, *arguments = command
    return (f"attiqa {second}" if first == "attiqa" else second), arguments


def imported(program: str) -> Any:
    name = program.removeprefix("attiqa ").replace("-", "_")
    script = program.removesuffix(".py").replace("/", ".")
    return importlib.import_module(f"attiqa.cli.{name}" if " " in program else script)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of trainings on so little
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run_one_after_the_other(page, place, clip, parts):
    first = commands(PAGES[0]) if page != PAGES[0] else []
    ran = 0
    for command in commands(page):
        program, arguments = program_of(command)
        if program in ELSEWHERE or (command in first and program in ALONE):
            continue
        module = imported(program)
        settings = shrunk(program, tyro.cli(module.Settings, args=arguments), clip, parts)
        status = module.main(settings)
        assert not status, command
        ran += 1
    assert ran > 1
