"""Pseudo-labels on disk: a folder of Parquet shards that survives a kill at any moment.

| file | content |
|---|---|
| `manifest.json` | all that the labels depend on, and a hash of the list of images |
| `labels-rRRRR-NNNNNN.parquet` | one row per image: `PHOTO` and a column per attribute |
| `rejects-rRRRR-NNNNNN.parquet` | one row per image that has no label: `REJECTS` |
| `*.journal` | the shard that process R is filling: an Arrow IPC stream, one message per batch |

A batch is stored once its message is in the journal; a full journal becomes the shard of the same
name, written beside it and renamed. After a kill the journal's whole messages become a shard, also
where the kill came between the renaming and the journal's removal. What is done is therefore known
from the files alone, however many processes wrote them.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float

from attiqa.attributes import ATTRIBUTES
from attiqa.data.photo_folder import PhotoFiles
from attiqa.errors import DatasetLayoutError, LabelStoreError
from attiqa.files import write_atomically
from attiqa.provenance.identity import differences

logger = logging.getLogger(__name__)

PHOTO = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),  # relative to the folder, with slashes
        pa.field("width", pa.int32(), nullable=False),  # upright
        pa.field("height", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the file
    ]
)
REJECTS = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
KINDS = ("labels", "rejects")


@dataclass(frozen=True)
class Labels:
    """A complete label store in the order of the paths.

    Attributes:
        paths: Of the labelled images, relative to the folder that was labelled.
        deltas: One column per attribute; only the order within a column means anything.
        rejects: Reason by path of the images that have no label.
        manifest: What the labels depend on.
        attributes: Of the columns; the paper's five but for ablations.
    """

    paths: tuple[str, ...]
    deltas: Float[np.ndarray, "n a"]
    rejects: Mapping[str, str]
    manifest: Mapping[str, Any]
    attributes: tuple[str, ...] = ATTRIBUTES


def read_labels(store: Path) -> Labels:
    """Read a label store.

    Raises:
        LabelStoreError: It is missing, broken or incomplete, or has a row twice.
    """
    manifest = read_manifest(store)
    attributes = tuple(manifest["attributes"])
    wanted = pa.schema([PHOTO.field("path"), *_columns(attributes)])
    labels = _read_shards(store, "labels", wanted).sort_by("path")
    rejects = _read_shards(store, "rejects", REJECTS).sort_by("path")
    paths, rejected = labels["path"].to_pylist(), rejects["path"].to_pylist()
    images = manifest["images"]
    found = len(paths) + len(rejected)
    if len({*paths, *rejected}) != found:
        raise LabelStoreError(f"{store}: has images twice; delete it and label the folder again")
    if found < images["count"]:
        raise LabelStoreError(
            f"{store}: {found} of {images['count']} images are done; `attiqa label` with the same "
            "settings goes on"
        )
    if hash_paths(sorted(paths + rejected)) != images["sha256"]:
        raise LabelStoreError(f"{store}: its rows are not the images that its manifest lists")
    columns = [labels[attribute].to_numpy() for attribute in attributes]
    reasons = rejects["reason"].to_pylist()
    return Labels(
        tuple(paths),
        np.stack(columns, axis=1),
        dict(zip(rejected, reasons, strict=True)),
        manifest,
        attributes,
    )


def labelled_photos(store: Path, folder: Path) -> tuple[PhotoFiles, Float[torch.Tensor, "n a"]]:
    """Pair the photographs of a folder with their labels, for training.

    Raises:
        LabelStoreError: See `read_labels`.
    """
    labels = read_labels(store)
    return PhotoFiles(folder / path for path in labels.paths), torch.from_numpy(labels.deltas)


def hash_paths(paths: Sequence[str]) -> str:
    """Return the SHA-256 of a sorted list of relative paths.

    Raises:
        DatasetLayoutError: A name is not Unicode: Parquet could not hold it.
    """
    try:
        return hashlib.sha256("\0".join(paths).encode()).hexdigest()
    except UnicodeEncodeError:
        wrong = next(path for path in paths if "?" in path.encode(errors="replace").decode())
        raise DatasetLayoutError(f"{wrong!r}: expected a file name in Unicode; rename it") from None


def read_manifest(store: Path) -> dict[str, Any]:
    """Read what a store's labels depend on.

    Raises:
        LabelStoreError: It is missing or broken.
    """
    path = store / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not manifest["attributes"] or not manifest["images"]:
            raise ValueError("no attributes or images")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabelStoreError(f"{path}: cannot be read as a manifest: {error!r}") from error
    return manifest


def require_manifest(store: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a new store, or compare it with that of the store that is there.

    Raises:
        LabelStoreError: They differ: rows of both in one store could not be compared.
    """
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    if not (store / "manifest.json").exists():
        store.mkdir(parents=True, exist_ok=True)
        write_atomically(store / "manifest.json", text.encode())
    changed = differences(read_manifest(store), json.loads(text))
    if changed:
        raise LabelStoreError(
            f"{store}: begun under other conditions: {'; '.join(changed)}. Use another folder"
        )


def stored_paths(store: Path) -> set[str]:
    """List the images that have a label or a reason why not."""
    wanted = pa.schema([PHOTO.field("path")])
    tables = (_read_shards(store, kind, wanted) for kind in KINDS)
    return {path for table in tables for path in table["path"].to_pylist()}


def recover(store: Path) -> None:
    """Make shards of the journals that a killed run left; no other run may be writing."""
    for journal in sorted(store.glob("*.journal")):
        _to_shard(journal)


def forget_rejects(store: Path) -> None:
    """Remove the rejects, so that their images are tried again."""
    for shard in store.glob("rejects-*.parquet"):
        shard.unlink()


class ShardWriter:
    """Appends rows of one kind to a store; each append is safe from a kill when it returns.

    Args:
        store: The folder; recovered, with a manifest.
        kind: One of `KINDS`.
        rank: Of this process: no two write under the same.
        rows: After how many a shard is full.
        attributes: Of the labels.
    """

    def __init__(
        self,
        store: Path,
        kind: str,
        rank: int,
        rows: int,
        attributes: Sequence[str] = ATTRIBUTES,
    ) -> None:
        self.schema = pa.schema([*PHOTO, *_columns(attributes)]) if kind == "labels" else REJECTS
        self.rows = rows
        self._store = store
        self._prefix = f"{kind}-r{rank:04}-"
        shards = store.glob(f"{self._prefix}*.parquet")
        taken = [int(path.stem.removeprefix(self._prefix)) for path in shards]
        self._number = max(taken, default=-1) + 1
        self._open: tuple[pa.OSFile, pa.RecordBatchStreamWriter] | None = None
        self._filled = 0

    def append(self, rows: Iterable[tuple]) -> None:
        """Store rows, given in the order of the schema's columns."""
        columns = list(zip(*rows, strict=True))
        if not columns:
            return
        if self._open is None:
            file = pa.OSFile(str(self._journal), "wb")  # unbuffered
            self._open = file, pa.ipc.new_stream(file, self.schema)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, self.schema, strict=True)]
        self._open[1].write_batch(pa.record_batch(arrays, schema=self.schema))
        self._filled += len(columns[0])
        if self._filled >= self.rows:
            self.close()

    def close(self) -> None:
        """Make a shard of what was appended."""
        if self._open is not None:
            file, stream = self._open
            stream.close()
            file.close()
            _to_shard(self._journal)
            self._open, self._filled = None, 0
            self._number += 1

    @property
    def _journal(self) -> Path:
        return self._store / f"{self._prefix}{self._number:06}.journal"


def _columns(attributes: Sequence[str]) -> list[pa.Field]:
    return [pa.field(attribute, pa.float32(), nullable=False) for attribute in attributes]


def _to_shard(journal: Path) -> None:
    """Turn the whole messages of a journal into the shard of the same name."""
    schema, batches = None, []
    try:
        stream = pa.ipc.open_stream(journal.read_bytes())
        schema = stream.schema
        for batch in stream:
            batches.append(batch)
    except (pa.ArrowInvalid, OSError) as error:
        logger.info("%s: cut off after %d batches: %s", journal, len(batches), error)
    if schema is not None:  # the kill came before any message otherwise
        part = journal.with_suffix(".part")
        pq.write_table(pa.Table.from_batches(batches, schema), part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(journal.with_suffix(".parquet"))
    journal.unlink()


def _read_shards(store: Path, kind: str, wanted: pa.Schema) -> pa.Table:
    tables = [wanted.empty_table()]
    for shard in sorted(store.glob(f"{kind}-*.parquet")):
        try:
            tables.append(pq.read_table(shard, columns=wanted.names).cast(wanted))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise LabelStoreError(f"{shard}: cannot be read as {kind}: {error}") from error
    return pa.concat_tables(tables)
