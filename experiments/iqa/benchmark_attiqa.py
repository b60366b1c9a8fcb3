"""What the work around the networks costs: each part beside its bare network, in one run.

    python experiments/iqa/benchmark_attiqa.py

Every figure is a ratio of two rates (or times) that are measured in turns, so that a slow moment of
the machine meets both; the median over the rounds is reported with all rounds beside it.
"""

import json
import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from rich import print
from skimage import data

from attiqa.attributes import ATTRIBUTES
from attiqa.cli import label as label_command
from attiqa.cli.settings.clip import ClipEncoder
from attiqa.data.crop_protocol import CropSettings
from attiqa.data.crops import RandomCrops
from attiqa.data.photo_folder import PhotoFiles, list_photos
from attiqa.data.pixel_cache import cache_pixels
from attiqa.data.views import views
from attiqa.distortions.ladders import ATTRIBUTE_LADDERS
from attiqa.files import write_atomically
from attiqa.labels.labelling import label_folder
from attiqa.labels.loading import Loading
from attiqa.model.architecture import Architecture
from attiqa.model.networks import AttributeNet
from attiqa.model.quality_model import load_model
from attiqa.scoring.files import score_files
from attiqa.scoring.in_torch import TorchScorer
from attiqa.teachers.embedding_cache import EmbeddingCache
from attiqa.teachers.prompt_selection import select_prompts
from attiqa.training.losses import margin_ranking_loss
from attiqa.training.pretraining import pretrain
from attiqa.training.settings import PretrainSettings, Schedule
from experiments.settings import parsed

Run = Callable[[], float]
"""Does its work and returns images per second."""

LIBRARIES = ("torch", "timm", "open-clip-torch", "numpy")


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark."""

    out: Path = Path("runs/benchmark_reward.json")
    """The figures."""
    rounds: int = 3
    """Times that each pair is measured."""
    photos: int = 96
    """JPEG photographs of 512 pixels, cut from scikit-image's samples."""
    clip: str = "ViT-B-16-quickgelu"
    """The teacher, with random weights: they compute as long as trained ones."""
    backbone: str = "resnet50"
    """The network that is pretrained: the paper's."""
    device: str = "cpu"
    """Where all of it runs."""


def main(settings: Settings) -> None:
    """Measure, print and write the figures."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        write_photos(folder, settings.photos)
        parts = {
            "labelling / bare teacher": labelling(settings, folder),
            "pretraining / bare forward, backward and step": pretraining(settings, folder),
            "folder scoring / bare model": folder_scoring(settings, folder),
        }
        figures: dict[str, Any] = {
            name: ratio(*pair, settings.rounds) for name, pair in parts.items()
        }
    figures["share of a fine-tuning epoch that reads photographs of 12 megapixels"] = reading_share(
        settings
    )
    figures["all-pairs loss / step, batch of 256"] = loss_share(settings)
    figures["embedded model, images of 224 pixels"] = model_rate(settings)
    figures["prompt search, 5 x 2,500 pairs over 1,000 images"] = search_time()
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    record = {
        "settings": {k: str(v) for k, v in asdict(settings).items()},
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "versions": {library: version(library) for library in LIBRARIES},
        "figures": figures,
    }
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(settings.out, (json.dumps(record, indent=2) + "\n").encode())


def write_photos(folder: Path, count: int) -> None:
    """Write JPEG photographs of 512 x 512 pixels: random cuts of scikit-image's samples."""
    folder.mkdir()
    random = np.random.default_rng(0)
    sources = [Image.fromarray(image()) for image in (data.astronaut, data.coffee, data.rocket)]
    for index in range(count):
        source = sources[index % len(sources)]
        side = int(random.integers(200, min(source.size) + 1))
        left, top = (int(random.integers(length - side + 1)) for length in source.size)
        cut = source.resize((512, 512), box=(left, top, left + side, top + side))
        cut.save(folder / f"{index:05}.jpg", quality=92)


def labelling(settings: Settings, folder: Path) -> tuple[Run, Run]:
    """Time `attiqa label` into an empty store, and its teacher alone on squares that are ready."""
    label = label_command.Settings(
        folder, Path(), encoder=ClipEncoder(settings.clip, None), device=settings.device
    )
    loading = Loading(batch_size=16, workers=2)
    whole = label_command.make_labelling(label, settings.device)
    side = whole.cut.side
    squares = torch.randint(256, (loading.batch_size, 1, 3, side, side), dtype=torch.uint8)

    def ours() -> float:
        with tempfile.TemporaryDirectory() as store, _Clock() as clock:
            label_folder(folder, Path(store), whole, loading)
        return settings.photos / clock.seconds

    @torch.inference_mode()
    def bare() -> float:
        batches = settings.photos // loading.batch_size
        with _Clock() as clock:
            for _ in range(batches):
                whole(squares).cpu()
        return batches * loading.batch_size / clock.seconds

    return ours, bare


def pretraining(settings: Settings, folder: Path) -> tuple[Run, Run]:
    """Time `pretrain` from image files and stored labels, and the same network's bare steps."""
    architecture, batch = Architecture(settings.backbone), 16
    labels = np.random.default_rng(0).normal(size=(settings.photos, len(ATTRIBUTES)))
    photos = PhotoFiles(list_photos(folder))
    schedule = Schedule(1, batch, crops=CropSettings(224, (256, 340)))
    pretraining = PretrainSettings(schedule, distorted=0.0)
    fabric = Fabric(accelerator=settings.device)
    images = torch.rand(batch, 3, 224, 224, device=settings.device)
    images = images.to(memory_format=torch.channels_last)

    def network() -> AttributeNet:
        return AttributeNet(architecture).to(memory_format=torch.channels_last)

    def seconds(repeats: int) -> float:
        again = PhotoFiles(photos.paths * repeats)
        with tempfile.TemporaryDirectory() as state, _Clock() as clock:
            path, stored = Path(state) / "state.ckpt", np.tile(labels, (repeats, 1))
            pretrain(fabric, network(), again, stored, pretraining, path)
        return clock.seconds

    def ours() -> float:
        """Compute the rate from two runs: one-time costs, such as starting workers, cancel."""
        return 2 * settings.photos / (seconds(3) - seconds(1))

    def bare() -> float:
        net, steps = network().to(settings.device), settings.photos // batch
        optimizer = torch.optim.AdamW(net.parameters(), 1e-4)
        with _Clock() as clock:
            for _ in range(steps):
                optimizer.zero_grad()
                net(images).square().mean().backward()
                optimizer.step()
        return steps * batch / clock.seconds

    return ours, bare


def folder_scoring(settings: Settings, folder: Path) -> tuple[Run, Run]:
    """Time `score_files` on the embedded model, and the model alone on crops that are ready."""
    model = load_model(device=settings.device)
    paths = list_photos(folder)
    shape = views(torch.zeros(1, 3, 512, 512), model.card.protocol).shape[1:]
    crops = torch.rand(8, *shape, device=settings.device)

    def ours() -> float:
        with _Clock() as clock:
            batches = score_files(TorchScorer(model), paths, batch=len(crops))
            scored = sum(len(rows) for rows in batches)
        return scored / clock.seconds

    @torch.inference_mode()
    def bare() -> float:
        batches = settings.photos // len(crops)
        with _Clock() as clock:
            for _ in range(batches):
                model.score_views(crops).score.cpu()
        return batches * len(crops) / clock.seconds

    return ours, bare


def reading_share(settings: Settings, count: int = 8) -> dict[str, float]:
    """Time crops of the paper's fine-tuning from JPEG files and from cached pixels, beside a step.

    One process decodes; a share is the reading's part of reading and step together.
    """
    crops, batch = CropSettings(320, (340, 340)), 8
    net = AttributeNet(Architecture(settings.backbone)).to(settings.device)
    images = torch.rand(batch, 3, 320, 320, device=settings.device)

    def step() -> None:
        net(images).square().mean().backward()

    learning = _seconds(step, settings.device) / batch
    found = {"seconds of a step per crop": learning}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photo = Image.fromarray(data.astronaut()).resize((4000, 3000), Image.Resampling.BICUBIC)
        for index in range(count):
            photo.rotate(index).save(folder / f"{index}.jpg", quality=92)
        paths = list_photos(folder)
        sources = {"files": PhotoFiles(paths), "cache": cache_pixels(paths, 340, folder)}
        for name, photos in sources.items():
            drawn = RandomCrops(photos, crops, seed=0)
            reading = _seconds(lambda d=drawn: [d[i] for i in range(count)], "cpu", 3) / count
            found[f"seconds of reading a crop from {name}"] = reading
            found[f"share, {name}"] = reading / (reading + learning)
    return {name: round(value, 5) for name, value in found.items()}


class _Clock:
    """Time that a block takes."""

    seconds: float

    def __enter__(self) -> "_Clock":
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start


def ratio(ours: Run, bare: Run, rounds: int) -> dict[str, Any]:
    """Measure two runs in turns; the ratio of their rates in images per second."""
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    for run in (ours, bare):  # warm up: caches, threads, allocator
        run()
    for _ in range(rounds):
        for name, run in (("ours", ours), ("bare", bare)):
            rates[name].append(run())
    ratios = [a / b for a, b in zip(rates["ours"], rates["bare"], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "rounds": [round(value, 3) for value in ratios],
        "images per second": {k: round(statistics.median(v), 2) for k, v in rates.items()},
    }


def loss_share(settings: Settings) -> dict[str, float]:
    """Time Eq. 4 over all pairs of 256 images, forward and backward, against a training step.

    The step is measured on a quarter of the batch, which fits anywhere, and counted fourfold.
    """
    net = AttributeNet(Architecture(settings.backbone)).to(settings.device)
    net = net.to(memory_format=torch.channels_last)
    images = torch.rand(64, 3, 224, 224, device=settings.device)
    labels = torch.rand(256, len(ATTRIBUTES), device=settings.device)
    scores = torch.randn_like(labels).requires_grad_()

    def loss() -> None:
        margin_ranking_loss(scores, labels).backward()

    def step() -> None:
        net(images.contiguous(memory_format=torch.channels_last)).square().mean().backward()

    times = {"loss": _seconds(loss, settings.device), "step": 4 * _seconds(step, settings.device)}
    return {"share": round(times["loss"] / times["step"], 5)} | times


def model_rate(settings: Settings) -> dict[str, float]:
    """Return the images per second of the embedded model, batches of 32."""
    model = load_model(device=settings.device)
    images = torch.rand(32, 3, 224, 224, device=settings.device)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = _seconds(lambda: model.predict(images), settings.device)
    return {"images per second": round(32 / seconds, 1)}


def search_time() -> dict[str, float]:
    """Score all pairs of five attributes: 140 photographs on ladders of seven, 1,000 rated ones."""
    random = np.random.default_rng(0)
    ladders = {
        name: replace(ladder, levels=tuple(float(level) for level in range(-3, 4)))
        for name, ladder in ATTRIBUTE_LADDERS.items()
    }

    climbed = {name: _features(random, 140, 7) for name in ladders}
    rated, ratings = _features(random, 1000), random.normal(size=(1000, len(ATTRIBUTES)))
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(_Encoder(), Path(folder))
        start = time.perf_counter()
        select_prompts(cache, climbed, ladders, rated, ratings)
        return {"seconds": round(time.perf_counter() - start, 2)}


class _Encoder:
    """Stands for a CLIP model whose images are encoded already."""

    @property
    def encoder(self) -> dict[str, Any]:
        """Its description."""
        return {"name": "random"}

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Refuse: not needed here."""
        raise NotImplementedError("the images of this benchmark are encoded already")

    def encode_prompts(self, prompts: tuple[str, ...]) -> torch.Tensor:
        """Return random features."""
        return torch.from_numpy(_features(np.random.default_rng(len(prompts)), len(prompts)))


def _features(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Return features of length 1."""
    values = random.normal(size=(*shape, 512)).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def _seconds(work: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Return the median time of a call, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(parsed(Settings))
