r"""Tables of scores as CSV, JSON lines or Parquet that an interrupted run continues.

While a run works, its rows are in a journal, `OUT.part`: JSON lines, written batch by batch. When
all files are scored, the journal becomes the table in one step. Every row says what its number
means: scale, direction, training set, model, weights and protocol.

A file name that is no Unicode text, such as the bytes `ff 2e 70 6e 67`, stands in the table as JSON
would write it: `\udcff.png`.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from attiqa.attributes import ATTRIBUTES
from attiqa.checkpoints import Card
from attiqa.errors import AttiqaError
from attiqa.folder_scoring import FileScore

Row = dict[str, str | float | int | None]

SUFFIXES = (".csv", ".jsonl", ".parquet")

CHUNK = 10_000
"""Rows in memory at a time while a table is written."""


_ESCAPED = r"u(d[89a-f][0-9a-f]{2}|005c)"
"""After a backslash: half a surrogate pair, which no encoding has, or the backslash itself."""


class ScoreTableError(AttiqaError):
    """A table of scores has another format, or belongs to another model."""


def table_schema(attributes: Sequence[str] = ATTRIBUTES) -> pa.Schema:
    """Name the columns and their types.

    Args:
        attributes: What the model scores, in standard deviations of the training photographs.
    """
    return pa.schema(
        [
            ("path", pa.string()),
            ("score", pa.float64()),
            *((name, pa.float64()) for name in attributes),
            ("scale_low", pa.float64()),
            ("scale_high", pa.float64()),
            ("direction", pa.string()),
            ("training", pa.string()),
            ("model", pa.string()),
            ("weights_sha256", pa.string()),
            ("protocol", pa.string()),
            ("width", pa.int64()),
            ("height", pa.int64()),
            ("error", pa.string()),
        ]
    )


def table_text(text: str) -> str:
    r"""Write what no encoding has as JSON would; `named_file` is the way back.

    >>> table_text(os.fsdecode(b"photos/\xff.png"))
    'photos/\\udcff.png'
    """
    unambiguous = re.sub(rf"\\(?={_ESCAPED})", r"\\u005c", text)
    return unambiguous.encode(errors="backslashreplace").decode()


def named_file(text: str) -> str:
    """Read the path that a table names."""
    return re.sub(rf"\\{_ESCAPED}", lambda found: chr(int(found[1], 16)), text)


def table_row(file: FileScore, card: Card) -> Row:
    """Say what became of a file and what its number means."""
    assert card.scale is not None  # load_model sees to it
    attributes = file.attributes or (None,) * len(card.attributes)
    return {
        "path": table_text(str(file.path)),
        "score": file.score,
        **dict(zip(card.attributes, attributes, strict=True)),
        "scale_low": card.scale.low,
        "scale_high": card.scale.high,
        "direction": "higher is better",
        "training": str(card.training.get("data", "not stated")),
        "model": card.name,
        "weights_sha256": card.sha256,
        "protocol": json.dumps(asdict(card.protocol)),
        "width": file.width,
        "height": file.height,
        "error": table_text(file.error),
    }


class ScoreJournal:
    """The rows of a run on disk: appended while it works, turned into the table at its end.

    Attributes:
        out: The table to be.
        schema: Its columns.
        done: Paths that need no scoring any more: those in the journal of an interrupted run, or
            those that a finished table has a score for.
    """

    def __init__(self, out: Path, card: Card) -> None:
        """Continue where an earlier run stopped.

        Raises:
            ScoreTableError: The suffix is unknown, or the rows there are another model's.
        """
        if out.suffix not in SUFFIXES:
            raise ScoreTableError(f"{out}: expected one of the suffixes {SUFFIXES}")
        self.out = out
        self.schema = table_schema(card.attributes)
        self.part = out.with_name(out.name + ".part")
        out.parent.mkdir(parents=True, exist_ok=True)
        if self.part.exists():
            _drop_broken_line(self.part)
        elif out.exists():
            rows = (row for row in read_rows(out) if not row["error"])
            _write(self.part, partial(_write_jsonl, rows))
        else:
            self.part.touch()
        self.done = set[str]()
        for row in read_rows(self.part, ".jsonl"):
            found = (row["weights_sha256"], row["protocol"])
            if found != (card.sha256, json.dumps(asdict(card.protocol))):
                raise ScoreTableError(
                    f"{out}: holds scores of {row['model']} ({found}), not of {card.name} "
                    f"({card.sha256}); name another file, or remove it and {self.part.name}"
                )
            self.done.add(named_file(str(row["path"])))

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows that a killed run will not lose."""
        with self.part.open("a", encoding="utf-8") as lines:
            _write_lines(lines.write, rows)

    def rows(self) -> Iterator[Row]:
        """Read all rows so far."""
        return read_rows(self.part, ".jsonl")

    def finish(self) -> None:
        """Turn the journal into the table."""
        if self.out.suffix == ".jsonl":
            os.replace(self.part, self.out)
            return
        write = _write_csv if self.out.suffix == ".csv" else _write_parquet
        _write(self.out, partial(write, self.rows(), self.schema))
        self.part.unlink()


def read_rows(path: Path, suffix: str = "") -> Iterator[Row]:
    """Read a table row by row.

    Raises:
        ScoreTableError: It is no table of scores.
    """
    try:
        match suffix or path.suffix:
            case ".jsonl":
                with path.open(encoding="utf-8") as lines:
                    yield from map(json.loads, lines)
            case ".csv":
                options = csv.ConvertOptions(
                    column_types=table_schema(),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                )
                parse = csv.ParseOptions(newlines_in_values=True)
                with csv.open_csv(path, convert_options=options, parse_options=parse) as batches:
                    for batch in batches:
                        yield from batch.to_pylist()
            case _:
                for batch in parquet.ParquetFile(path).iter_batches(CHUNK):
                    yield from batch.to_pylist()
    except (pa.ArrowInvalid, ValueError) as error:
        raise ScoreTableError(f"{path}: cannot be read as a table of scores: {error}") from error


def _drop_broken_line(journal: Path) -> None:
    """Cut off the line that a killed run did not end."""
    with journal.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        tail = min(end, 2**20)  # a row is far shorter
        file.seek(end - tail)
        file.truncate(end - tail + file.read().rfind(b"\n") + 1)


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill another file first, so that the table is never half there."""
    new = path.with_name(path.name + ".new")
    write(new)
    os.replace(new, path)


def _write_lines(write: Callable[[str], object], rows: Iterable[Row]) -> None:
    for row in rows:
        write(json.dumps(row) + "\n")


def _write_jsonl(rows: Iterator[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8") as lines:
        _write_lines(lines.write, rows)


def _write_csv(rows: Iterator[Row], schema: pa.Schema, path: Path) -> None:
    with csv.CSVWriter(path, schema) as writer:
        while chunk := list(islice(rows, CHUNK)):
            writer.write_table(pa.Table.from_pylist(chunk, schema))


def _write_parquet(rows: Iterator[Row], schema: pa.Schema, path: Path) -> None:
    with parquet.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(rows, CHUNK)):
            writer.write_table(pa.Table.from_pylist(chunk, schema))
