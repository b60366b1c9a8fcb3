"""Label a folder of unlabelled photographs with a teacher's attribute scores (ATTIQA section 3.3).

Workers decode, hash and cut; the model never waits for them, for the disk, or for its own results,
which are stored while it computes the next batch. Under torchrun each process labels the files
whose CRC-32 falls to it: the division needs no agreement, and another number of processes may
finish what some have begun.
"""

import fcntl
import logging
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float, UInt8
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.text import Text
from torch import Tensor
from torch.utils.data import DataLoader

from attiqa.attributes import ATTRIBUTES
from attiqa.data.photo_folder import list_photos
from attiqa.errors import LabelStoreError
from attiqa.labels.loading import Loading
from attiqa.labels.photo_batches import Cut, PhotoBatch, PhotoBatches, PhotoRow, Reject
from attiqa.labels.score_table import ScoreTable
from attiqa.labels.store import (
    KINDS,
    ShardWriter,
    forget_rejects,
    hash_paths,
    recover,
    require_manifest,
    stored_paths,
)
from attiqa.provenance.versions import code_hash
from attiqa.teachers.teacher import AttributeTeacher

logger = logging.getLogger(__name__)

LIBRARIES = ("attiqa", "torch", "torchvision", "pillow", "numpy")
DECIDING = (
    *("data/photos/decoding", "data/photos/formats", "data/photos/deep_images"),
    *("data/photos/color_spaces", "data/photos/color_profiles", "data/photos/code_points"),
    *("data/views", "labels/photo_batches", "labels/score_table"),
    *("teachers/measurements", "teachers/clip_model", "teachers/teacher"),
)
"""Modules that a label depends on."""


@dataclass(frozen=True)
class Labelling:
    """How to label: all that the labels depend on.

    Attributes:
        teacher: Sees the squares of `cut` in [0, 1] on `device`; must not cut them again.
        cut: What of a photograph it sees.
        description: Of the teacher, ready for JSON: weights, prompts, normalisation.
        device: Where the squares are brought.
        attributes: Of the teacher's columns.
        lack: Why a photograph has no label though it can be read.
    """

    teacher: AttributeTeacher
    cut: Cut
    description: Mapping[str, Any]
    device: str = "cpu"
    attributes: tuple[str, ...] = ATTRIBUTES
    lack: ClassVar[str] = "the teacher's label is not finite"

    def __call__(self, squares: UInt8[Tensor, "b v 3 s s"]) -> Float[Tensor, "b a"]:
        """Label photographs; on a GPU this returns before the labels are there."""
        images = squares.to(self.device, non_blocking=True).flatten(0, 1).float() / 255
        return self.teacher(images).unflatten(0, squares.shape[:2]).mean(1)

    def label(self, batch: PhotoBatch) -> Float[Tensor, "b a"]:
        """Label what a worker hands over."""
        assert batch.squares is not None
        return self(batch.squares)


def label_folder(
    folder: Path,
    store: Path,
    labelling: Labelling | ScoreTable,
    loading: Loading | None = None,
    retry_rejects: bool = False,
) -> None:
    """Label the images below a folder that a label store lacks, with a progress bar.

    A kill loses the batch that the teacher is computing (two on a GPU); the next call goes on.
    Where `torch.distributed` is initialised, all its processes must call this, on a shared disk.

    Args:
        folder: Searched at any depth.
        store: Folder of the labels, see `attiqa.labels.store`; made where it does not exist.
        labelling: Must be the same in each call for one store. A photograph that a table has no
            row for is a reject.
        loading: May differ from call to call.
        retry_rejects: Try the images again that could not be read in an earlier run.

    Raises:
        LabelStoreError: The store was begun under other conditions, another run is writing it, or
            a table has no row for any photograph.
        DatasetLayoutError: The folder holds no images, or a file name that is not Unicode.
    """
    loading = loading or Loading()
    distributed = dist.is_available() and dist.is_initialized()
    rank, processes = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
    paths = sorted(path.relative_to(folder).as_posix() for path in list_photos(folder))
    if isinstance(labelling, ScoreTable) and rank == 0:
        labelling.require_rows(paths)
    manifest = describe(labelling, paths)
    store.mkdir(parents=True, exist_ok=True)
    with (store / "lock").open("a+") as lock:
        if rank == 0:
            _lock(lock, fcntl.LOCK_EX)
            require_manifest(store, manifest)
            recover(store)
            if retry_rejects:
                forget_rejects(store)
            _lock(lock, fcntl.LOCK_SH)
        if distributed:
            dist.barrier()
        _lock(lock, fcntl.LOCK_SH)
        require_manifest(store, manifest)
        done = stored_paths(store)
        mine = [p for p in paths if zlib.crc32(p.encode()) % processes == rank and p not in done]
        logger.info("%d of %d images are stored; %d to do here", len(done), len(paths), len(mine))
        _label(folder, store, mine, labelling, loading, rank)


def describe(labelling: Labelling | ScoreTable, paths: Sequence[str]) -> dict[str, Any]:
    """Return the manifest: all that the labels of a sorted list of images depend on."""
    return {
        "format": 1,
        "attributes": list(labelling.attributes),
        "teacher": dict(labelling.description),
        "cut": labelling.cut
        and asdict(labelling.cut) | {"resize": "bicubic, antialiased, rounded to 8 bits"},
        "images": {"count": len(paths), "sha256": hash_paths(paths)},
        "versions": {name: version(name) for name in LIBRARIES},
        "code_sha256": code_hash(DECIDING),
    }


class _Labelled(NamedTuple):
    """A batch whose labels may still be on their way from the GPU."""

    rows: list[PhotoRow]
    deltas: Float[Tensor, "b a"]
    arrival: torch.cuda.Event | None


def _label(
    folder: Path,
    store: Path,
    paths: list[str],
    labelling: Labelling | ScoreTable,
    loading: Loading,
    rank: int,
) -> None:
    """Label one process' share; what was stored stays, whatever ends it."""
    on_gpu = torch.device(labelling.device).type == "cuda"
    size = loading.batch_size
    loader = DataLoader(
        PhotoBatches(folder, labelling.cut),
        batch_size=None,
        sampler=[paths[start : start + size] for start in range(0, len(paths), size)],
        num_workers=loading.workers,
        pin_memory=on_gpu,
    )
    labels, rejects = (
        ShardWriter(store, kind, rank, loading.shard_rows, labelling.attributes) for kind in KINDS
    )
    flying: deque[_Labelled] = deque()

    def land(left: int) -> None:
        while len(flying) > left:
            _store(flying.popleft(), labels, rejects, labelling.lack)

    try:
        with _progress(rank) as progress:
            task = progress.add_task("labelling", total=len(paths))
            for batch in loader:
                if batch.rows:
                    flying.append(_launch(batch, labelling))
                land(left=int(on_gpu))  # the GPU computes one while the one before it is stored
                rejects.append(batch.rejects)
                progress.advance(task, len(batch.rows) + len(batch.rejects))
            land(left=0)
    finally:
        labels.close()
        rejects.close()


def _launch(batch: PhotoBatch, labelling: Labelling | ScoreTable) -> _Labelled:
    deltas = labelling.label(batch)
    if not deltas.is_cuda:
        return _Labelled(batch.rows, deltas.cpu(), None)
    deltas = deltas.to("cpu", non_blocking=True)
    arrival = torch.cuda.Event()
    arrival.record(torch.cuda.current_stream(labelling.device))
    return _Labelled(batch.rows, deltas, arrival)


def _store(batch: _Labelled, labels: ShardWriter, rejects: ShardWriter, lack: str) -> None:
    if batch.arrival is not None:
        batch.arrival.synchronize()
    pairs = list(zip(batch.rows, batch.deltas.tolist(), strict=True))
    finite = batch.deltas.isfinite().all(dim=1).tolist()
    labels.append((*row, *deltas) for (row, deltas), ok in zip(pairs, finite, strict=True) if ok)
    rejects.append(
        Reject(row.path, f"{lack}: {deltas}")
        for (row, deltas), ok in zip(pairs, finite, strict=True)
        if not ok
    )


def _lock(file: IO[str], kind: int) -> None:
    """Take a lock that ends with this process; its workers do not inherit it."""
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LabelStoreError(f"{file.name}: another run is writing this store") from None


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


def _progress(rank: int) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    return Progress("{task.description}", *columns, disable=rank != 0)
