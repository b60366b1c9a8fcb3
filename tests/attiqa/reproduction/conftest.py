"""All data sets of the paper in miniature, a tiny CLIP, a tiny network: every table in seconds."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from attiqa.data.datasets import clive
from attiqa.evaluation import metrics
from attiqa.model.networks import AttributeNet
from tests.attiqa.data.datasets import layouts

COUNT = 30


def write_flive(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    """With more photographs in each part than those of the readers' own tests."""
    layouts.write_flive(folder, names, mos)
    learning = {"name_image": names[:24], "is_valid": [index % 4 == 0 for index in range(24)]}
    pd.DataFrame(learning).to_csv(folder / "labels=640_padded.csv", index=False)
    test = {"mos_image": 50.0, "name_image": names[24:], "name_patch": "patches/a"}
    pd.DataFrame(test).to_csv(folder / "labels640.csv", index=False)


def write_agiqa3k(folder: Path, names: Sequence[str], mos: Sequence[float]) -> None:
    """With ten prompts, which stay on one side of a division."""
    layouts.write_agiqa3k(folder, names, mos)
    table = pd.read_csv(folder / "data.csv")
    prompts = [f"prompt {index // 3}" for index in range(len(names))]
    table.assign(prompt=prompts).to_csv(folder / "data.csv", index=False)


LAYOUTS: dict[str, tuple[Callable, str, float, Callable[[int], str]]] = {
    "clive": (layouts.write_clive, "Images", 100.0, lambda i: f"{i + 3}.bmp"),
    "koniq": (layouts.write_koniq, "1024x768", 100.0, lambda i: f"{i}.png"),
    "spaq": (layouts.write_spaq, "TestImage", 100.0, lambda i: f"{i:05}.png"),
    "flive": (write_flive, "database", 100.0, lambda i: f"voc/{i}.png"),
    "ava": (layouts.write_ava, "images", 10.0, lambda i: f"{953_000 + i}.jpg"),
    "agiqa3k": (write_agiqa3k, ".", 4.5, lambda i: f"sd1.5_normal_{i:03}.jpg"),
}
"""Writer of the labels, folder of the images, highest score, names."""


def save_photographs(folder: Path, names: list[str], seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC)
        photo.save(path, quality=95)


def write_dataset(name: str, folder: Path, seed: int = 0) -> Path:
    write, images, high, naming = LAYOUTS[name]
    names = [naming(index) for index in range(COUNT)]
    folder.mkdir(parents=True)
    mos = np.random.default_rng(seed).permutation(np.linspace(1, high, COUNT)).round(0).clip(1)
    if name == "spaq":
        mos = np.sort(mos)  # its noisiness must rise with them
    write(folder, names, [float(score) for score in mos])
    save_photographs(folder / images, names, seed)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> str:
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    path = tmp_path_factory.mktemp("clip") / "tiny-clip-reproduction.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture
def plan_file(tmp_path, tiny, tiny_clip, monkeypatch) -> Callable[..., Path]:
    """Writes a plan with some data sets, everything tiny."""
    monkeypatch.setattr(clive, "ROWS", COUNT)  # its labels are read whole in any case
    monkeypatch.setattr(metrics, "EVALUATIONS", 10)  # random networks: no fit converges

    def write(*datasets: str, **changes: Any) -> Path:
        for number, name in enumerate(datasets):
            write_dataset(name, tmp_path / name, number)
        torch.manual_seed(1)
        weights = AttributeNet(tiny).backbone.state_dict()
        kept = {k: v.contiguous() for k, v in weights.items() if "num_batches" not in k}
        save_file(kept, tmp_path / "init.safetensors")
        schedule = {
            "epochs": 1,
            "batch_size": 4,
            "workers": 0,
            "crops": {"size": 32, "short_side": [32, 40]},
        }
        grey = [0.5, 0.5, 0.5]
        content = {
            "datasets": {name: name for name in datasets},
            "subset": True,
            "clip": {"architecture": tiny_clip, "pretrained": None},
            "splits": 2,
            "network": {
                "backbone": "test_efficientnet",
                "mean": grey,
                "std": grey,
                "head_features": 8,
                "regressor_features": 8,
            },
            "pretraining": {"schedule": schedule},
            "finetuning": {"schedule": schedule | {"batch_size": 2}},
            "protocol": {"short_side": 40, "crop": 32},
            "probe": {"hidden": 8, "epochs": 2},
        }
        path = tmp_path / "data.yaml"
        path.write_text(yaml.safe_dump(content | changes))
        return path

    return write


@pytest.fixture
def everything(plan_file, tmp_path) -> Path:
    """A plan that lacks nothing."""
    save_photographs(tmp_path / "unlabelled", [f"{i}.png" for i in range(8)], 7)
    save_photographs(tmp_path / "clean", [f"{i}.png" for i in range(2)], 8)
    save_photographs(tmp_path / "generated", [f"{i}.png" for i in range(6)], 9)
    pairs = {"first": ["0.png", "2.png", "4.png"], "second": ["1.png", "3.png", "5.png"]}
    pairs |= {"preference": [1.0, 0.0, 0.5]}
    pd.DataFrame(pairs).to_csv(tmp_path / "generated" / "pairs.csv", index=False)
    baseline = {"init": "init.safetensors", "backbone": "test_efficientnet"}
    return plan_file(
        *LAYOUTS,
        unlabelled="unlabelled",
        clean="clean",
        pairs="generated/pairs.csv",
        init="init.safetensors",
        baselines={"ImageNet": baseline},
        splits=1,
    )
