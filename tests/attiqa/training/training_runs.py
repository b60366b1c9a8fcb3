"""Small trainings in processes of their own, started by test_interruptions.

training_runs.py kill OUT           pretraining and fine-tuning, undisturbed and killed
training_runs.py distributed OUT    pretraining and fine-tuning; may run under torchrun
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from attiqa.data.crop_protocol import CropSettings
from attiqa.model.architecture import Architecture
from attiqa.model.networks import AttributeNet, QualityNet
from attiqa.teachers.teacher import MeasuredTeacher
from attiqa.training.finetuning import finetune
from attiqa.training.pretraining import pretrain
from attiqa.training.settings import FinetuneSettings, PretrainSettings, Schedule

SCHEDULE = Schedule(
    epochs=4,
    batch_size=4,
    backbone_lr=1e-3,
    ema_decay=0.9,
    crops=CropSettings(32, (32, 48)),
    workers=0,
    checkpoint_steps=2,
)
KILLS = 5


def photographs(count: int = 24) -> list[np.ndarray]:
    """Blocks of colour with noise, so that no two photographs tie in an attribute."""
    random = np.random.default_rng(0)
    blocks = random.integers(30, 220, (count, 6, 6, 3)).repeat(8, 1).repeat(8, 2)
    noise = random.normal(0, np.linspace(2, 12, count)[:, None, None, None], blocks.shape)
    return list((blocks + noise).clip(0, 255).astype(np.uint8))


def fresh(backbone: str) -> QualityNet:
    torch.manual_seed(0)
    grey = (0.5, 0.5, 0.5)
    return QualityNet(AttributeNet(Architecture(backbone, grey, grey, 8, 8)))


class NotifyingTeacher(MeasuredTeacher):
    """Writes a byte for each call: one per step."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        os.write(self.pipe, b".")
        return super().__call__(images)


def run(kind: str, net: QualityNet, schedule: Schedule, teacher, fabric: Fabric, state: Path):
    photos = photographs()
    if kind == "pretrain":
        settings = PretrainSettings(schedule, ladder_weight=1.0)
        return pretrain(fabric, net.attribute_net, photos, teacher, settings, state)
    if kind == "finetune":
        settings = FinetuneSettings(schedule, rank_weight=1.0, ladder_weight=1.0)
    elif kind == "lora":
        settings = FinetuneSettings(schedule, lora_rank=2)
    else:
        settings = FinetuneSettings(
            schedule, dropout=0.3, attribute_weight=0.5, ranked_distortions_weight=1.0
        )
    mos = np.linspace(0.1, 0.9, len(photos))
    return finetune(fabric, net, photos, mos, teacher, settings, state)


def train_in_a_child(kind: str, state: Path, result: Path) -> tuple[int, int]:
    """Start a training; its process and a pipe that gets a byte at each step."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        net = fresh("test_efficientnet")
        fabric = Fabric(accelerator="cpu")
        history = run(kind, net, SCHEDULE, NotifyingTeacher(writing), fabric, state)
        torch.save({"net": net.state_dict(), "history": history}, result)
        os._exit(0)
    os.close(writing)
    return process, reading


def kill_and_resume(out: Path) -> None:
    """Leave the results of an undisturbed and a killed run, and the signals that ended it."""
    for kind in ("pretrain", "reward"):
        process, reading = train_in_a_child(kind, out / f"{kind}.whole", out / f"{kind}.whole.pt")
        os.waitpid(process, 0)
        os.close(reading)
        random = np.random.default_rng(7)
        kills = []
        while True:
            process, reading = train_in_a_child(kind, out / f"{kind}.cut", out / f"{kind}.cut.pt")
            if len(kills) < KILLS:
                for _ in range(int(random.integers(1, 6))):
                    os.read(reading, 1)
                time.sleep(random.uniform(0, 0.04))  # a step, or the writing of a checkpoint
                os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            os.close(reading)
            if os.WIFEXITED(status):
                break
            kills.append(os.WTERMSIG(status))
        (out / f"{kind}.kills").write_text(" ".join(map(str, kills)))


def distributed(out: Path) -> None:
    """Train on as many processes as torchrun started, with 8 photographs per step in all."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    strategy = "ddp" if processes > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=processes, strategy=strategy)
    fabric.launch()
    schedule = replace(SCHEDULE, epochs=2, batch_size=8 // processes)
    for kind in ("pretrain", "finetune", "lora"):
        net = fresh("test_convnext")
        history = run(kind, net, schedule, MeasuredTeacher(), fabric, out / f"{kind}.{processes}")
        if fabric.is_global_zero:
            named = net.named_parameters()
            gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}
            result = {"net": net.state_dict(), "history": history, "gradients": gradients}
            torch.save(result, out / f"{kind}.{processes}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"kill": kill_and_resume, "distributed": distributed}[sys.argv[1]](Path(sys.argv[2]))
