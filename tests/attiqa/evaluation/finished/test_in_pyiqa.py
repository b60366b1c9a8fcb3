"""Metrics of pyiqa under our protocols; where pyiqa is not installed, all of this is skipped.

No weights of pyiqa can be had without a network. PIQE and entropy have none; NIQE has the pristine
model among the test data; all others have random weights here: what is tested is that they run
under the protocol, not that they agree with people.
"""

import json
import socket
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import timm
import torch
import torchvision
import tyro
from PIL import Image

from attiqa.cli import compare, evaluate
from attiqa.cli.settings.compare import Settings
from attiqa.cli.settings.evaluate import Settings as Evaluation
from attiqa.data.datasets.registry import load_dataset
from attiqa.errors import AttiqaError, CheckpointError
from attiqa.evaluation.finished.in_pyiqa import PyiqaMetric
from attiqa.evaluation.protocols import as_is

pytest.importorskip("pyiqa", reason="needs the extra pyiqa")
pytestmark = pytest.mark.filterwarnings("ignore")  # of pyiqa and what it imports

COUNT = 4
RANDOM = {
    "cnniqa": {"pretrained": None},
    "metaiqa": {"pretrained": None},
    "musiq": {"pretrained": None},
    "topiq_nr": {"pretrained": None, "backbone_pretrain": False},
    "wadiqam_nr": {"pretrained": None},
}
"""Networks that pyiqa itself makes with random weights, on request."""
STRIPPED = {
    "clipiqa+": {"pretrained": None},
    "dbcnn": {},
    "hyperiqa": {"num_crop": 1},
    "liqe": {"pretrained": None, "num_patch": 1},
    "tres": {"test_sample": 1},
}
"""Networks that always fetch weights: here what loads them does nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photographs of rising noise, of different sizes."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    rows, (down, right) = ["name,mos"], np.mgrid[:240, :260] / 9
    scene = 128 + 60 * (np.sin(down) * np.cos(right))[..., None] * [1, 0.8, 0.5]
    for number in range(COUNT):
        noisy = scene + random.normal(0, 4 + 12 * number, scene.shape)
        picture = np.clip(noisy, 0, 255).astype(np.uint8)[: 240 - number]
        Image.fromarray(picture).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{1 - number / COUNT}")
    (folder / "scores.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def stripped(monkeypatch, tmp_path) -> None:
    """Let networks that fetch weights keep the random ones that they were made with."""
    names = ("arch_util", "clip_model", "clipiqa_arch", "liqe_arch")
    modules = (import_module(f"pyiqa.archs.{name}") for name in names)
    arch_util, clip_model, clipiqa_arch, liqe_arch = modules

    def clip(name: str, *_: object) -> torch.nn.Module:
        layers, width, patch = ((1, 1, 1, 1), 16, None) if name == "RN50" else (1, 64, 32)
        return clip_model.CLIP(512, 224, layers, width, patch, 77, 49408, 512, 8, 1)

    for module, name, replaced in (
        (torchvision.models._api.WeightsEnum, "get_state_dict", lambda *_, **__: {}),
        (torch.nn.Module, "load_state_dict", lambda *_, **__: None),
        (timm.models._builder, "load_pretrained", lambda *_, **__: None),
        (arch_util, "load_file_from_url", lambda url: url),
        (torch, "load", lambda *_, **__: defaultdict(dict)),
        (clipiqa_arch, "load", clip),
        (liqe_arch, "load", clip),
        (liqe_arch, "DEFAULT_CACHE_DIR", str(tmp_path)),  # where it would keep random features
    ):
        monkeypatch.setattr(module, name, replaced)


def measured(metric: PyiqaMetric, folder: Path) -> dict:
    photos = load_dataset("plain", folder, scale=(0.0, 1.0))
    return as_is(
        photos,
        lambda photos, rows: metric([photos.paths[row] for row in rows]),
        trained_on=metric.trained_on,
    )


def test_from_the_command_line_without_weights_to_fetch(folder, tmp_path):
    arguments = [str(folder), "--dataset", "plain", "--scale", "0", "1", "--resamples", "20"]
    arguments += ["--models", "pyiqa:piqe", "pyiqa:entropy", "--out", str(tmp_path)]
    settings = tyro.cli(Settings, args=arguments)
    settings.check()
    compare.main(settings)
    found = json.loads((tmp_path / "results.json").read_text())
    models = next(iter(found["datasets"].values()))["models"]
    assert {model["setting"] for model in models.values()} == {"zero-shot"}
    assert models["pyiqa:piqe"]["result"]["srocc"] > 0.8  # PIQE itself falls with quality
    out = tmp_path / "as-is"
    evaluate.main(Evaluation("as-is", folder, "plain", (0.0, 1.0), model="pyiqa:piqe", out=out))
    again = json.loads((out / "results.json").read_text())["result"]
    assert again["srocc"] == models["pyiqa:piqe"]["result"]["srocc"]


def test_scores_are_those_of_pyiqa_with_its_sign(folder):
    path = folder / "1.png"
    pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 255
    for name, sign in (("piqe", -1), ("entropy", 1)):
        expected = (
            import_module("pyiqa").create_metric(name, device=torch.device("cpu"))(pixels).item()
        )
        assert PyiqaMetric(f"pyiqa:{name}")([path]) == pytest.approx([sign * expected])


@pytest.mark.parametrize("name", RANDOM)
def test_random_networks_under_the_protocol(folder, name):
    found = measured(PyiqaMetric(f"pyiqa:{name}", options=RANDOM[name]), folder)
    assert -1 <= found["result"]["srocc"] <= 1
    assert found["result"]["pairs"] == COUNT * (COUNT - 1) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", STRIPPED)
def test_networks_that_fetch_weights_run_with_random_ones(folder, stripped, name):
    torch.manual_seed(0)
    metric = PyiqaMetric(f"pyiqa:{name}", options=STRIPPED[name])
    found = measured(metric, folder)
    assert -1 <= found["result"]["srocc"] <= 1
    assert metric.trained_on == {"clipiqa+": "unknown", "hyperiqa": "unknown"}.get(
        name, "KonIQ-10k"
    )


def test_a_score_does_not_depend_on_the_others(folder):
    torch.manual_seed(0)
    metric = PyiqaMetric("pyiqa:musiq", options=RANDOM["musiq"])
    paths = [folder / f"{number}.png" for number in range(3)]
    np.testing.assert_array_equal(metric(paths)[::-1], metric(paths[::-1]))
    torch.manual_seed(1)
    other = PyiqaMetric("pyiqa:musiq", options=RANDOM["musiq"])
    assert other.record["weights"] != metric.record["weights"]


def test_niqe_with_its_pristine_model(folder, data, tmp_path):
    pristine = np.load(data / "weights" / "niqe_pristine.npz")
    parameters = {f"{name}_prisparam": pristine[f"{name}_pris_param"] for name in ("mu", "cov")}
    scipy.io.savemat(tmp_path / "niqe.mat", parameters)
    options = {"pretrained_model_path": str(tmp_path / "niqe.mat")}
    metric = PyiqaMetric("pyiqa:niqe", options=options)
    clean = -metric(sorted((data / "kodak").glob("*.png"))[:4])
    assert np.all((clean > 1) & (clean < 6))  # as published for such photographs
    noisy = metric([folder / "0.png", folder / "3.png"])
    assert noisy[0] > noisy[1]


def test_without_a_network_it_is_said_what_to_fetch(monkeypatch, tmp_path):
    download_util = import_module("pyiqa.utils.download_util")

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(download_util, "DEFAULT_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name, said in (
        ("musiq", rf"fetch https://\S+/musiq_koniq\S+ and save it as {tmp_path}/musiq_koniq"),
        ("liqe", rf"fetch https://\S+/ViT-B-32.pt and save it as {tmp_path}/hub/clip/ViT-B-32.pt"),
        ("hyperiqa", r"fetch https://\S+: hf download timm/resnet50"),
    ):
        with pytest.raises(CheckpointError, match=said):
            PyiqaMetric(f"pyiqa:{name}")


def test_a_photograph_that_a_metric_cannot_score_is_named(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "flat.png")
    with pytest.raises(AttiqaError, match=r"pyiqa:piqe: .*flat\.png"):
        PyiqaMetric("pyiqa:piqe")([tmp_path / "flat.png"])
