"""`attiqa label`: a teacher's attribute scores for a folder of photographs, as Parquet.

On several processes or machines: `torchrun --nproc-per-node 8 --no-python attiqa label FOLDER ...`
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from rich.console import Console

from attiqa.cli.devices import require_device
from attiqa.cli.settings.label import Settings
from attiqa.labels.labelling import Labelling, label_folder
from attiqa.labels.photo_batches import Cut
from attiqa.labels.score_table import read_score_table
from attiqa.labels.store import read_labels
from attiqa.teachers.teacher import ClipTeacher, MeasuredTeacher


def main(settings: Settings) -> None:
    """Label what is missing, then say how it stands."""
    with _processes() as (local_rank, processes):
        device = settings.device
        if device == "cuda" and processes > 1:
            device = f"cuda:{local_rank}"
        if settings.table is not None:
            labelling = read_score_table(settings.table, settings.columns)
        else:
            require_device(device)
            labelling = make_labelling(settings, device)
        label_folder(
            settings.folder, settings.out, labelling, settings.loading, settings.retry_rejects
        )
    if processes == 1:
        labels = read_labels(settings.out)
        done = f"{settings.out}: {len(labels.paths)} labelled, {len(labels.rejects)} rejected"
        Console(soft_wrap=True).print(done, markup=False, highlight=False)


def make_labelling(settings: Settings, device: str) -> Labelling:
    """Make the teacher and what it sees.

    Raises:
        TeacherError: The CLIP model cannot be had.
        CheckpointError: A file of weights or prompts cannot be read.
    """
    if settings.teacher == "measured":
        cut = Cut(settings.view, settings.side or 512)
        return Labelling(MeasuredTeacher(), cut, {"teacher": MeasuredTeacher.name}, device)
    prompts = settings.prompting.read()
    clip, weights = settings.encoder.clip, settings.encoder.clip_weights
    teacher = ClipTeacher(
        clip, weights, device, "center", settings.side, prompts, magnitude=settings.magnitude
    )
    description = teacher.describe() | {"prompts_from": settings.prompting.describe()}
    for name in ("view", "side", "resize"):  # the workers' cut says these
        del description[name]
    cut = Cut(settings.view, teacher.side)
    return Labelling(teacher, cut, description, device, teacher.attributes)


@contextmanager
def _processes() -> Iterator[tuple[int, int]]:
    """Join the processes of torchrun; rank on this machine and number of all, (0, 1) without."""
    if not TorchElasticEnvironment.detect():
        yield 0, 1
        return
    dist.init_process_group("gloo", timeout=timedelta(hours=2))
    try:
        yield TorchElasticEnvironment().local_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()
