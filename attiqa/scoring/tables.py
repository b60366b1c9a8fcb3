r"""Tables of scores as CSV, JSON lines or Parquet that an interrupted run continues.

While a run works, its rows are in a journal, `OUT.part`: JSON lines, written batch by batch. When
all files are scored, the journal becomes the table in one step. Every row says what its number
means: scale, direction, training set, model, weights and protocol.

A file name that is no Unicode text, such as the bytes `ff 2e 70 6e 67`, stands in the table as JSON
would write it: `\udcff.png`.
"""

import contextlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from attiqa.attributes import ATTRIBUTES
from attiqa.data.photos.formats import kind_of_file
from attiqa.errors import AttiqaError
from attiqa.files import companion
from attiqa.model.cards import Card
from attiqa.scoring.rows import INTERVAL, Crops, Row, named_file, protocol_text

logger = logging.getLogger(__name__)

SUFFIXES = (".csv", ".jsonl", ".parquet")

IDENTITY = ("model", "weights_sha256", "protocol")
"""Columns that say what gave a score."""

CHUNK = 10_000
"""Rows in memory at a time while a table is written."""


class ScoreTableError(AttiqaError):
    """A table of scores cannot be written, has another format, or belongs to another model."""


def table_schema(attributes: Sequence[str] = ATTRIBUTES, intervals: bool = False) -> pa.Schema:
    """Name the columns and their types.

    Args:
        attributes: What the model scores, in standard deviations of the training photographs.
        intervals: With the columns of the uncertainty, on the scale of the score.
    """
    return pa.schema(
        [
            ("path", pa.string()),
            ("score", pa.float64()),
            *((name, pa.float64()) for name in (INTERVAL if intervals else ())),
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


class ScoreJournal:
    """The rows of a run on disk: appended while it works, turned into the table at its end.

    Attributes:
        out: The table to be.
        schema: Its columns.
        done: Paths that need no scoring any more: those in the journal of an interrupted run, or
            those that a finished table has a score for. A file that was written after its table is
            not among them.
    """

    def __init__(self, out: Path, card: Card, crops: Crops = 5, intervals: bool = False) -> None:
        """Continue where an earlier run stopped.

        Raises:
            ScoreTableError: The suffix is unknown, the rows there are another model's or no scores,
                or nothing can be written there.
        """
        _require_table_or_nothing(out)
        if _suffix(out) not in SUFFIXES:
            raise ScoreTableError(f"{out}: expected one of the suffixes {SUFFIXES}")
        self.out = out
        self.schema = table_schema(card.attributes, intervals)
        self.part = companion(out, ".part")
        _require_table_or_nothing(self.part)
        with self._writing():
            out.parent.mkdir(parents=True, exist_ok=True)
            if self.part.exists():
                written = self.part.stat().st_mtime_ns
                _drop_broken_line(self.part)
                self._keep(_journal_rows(self.part), written)
            elif out.exists():
                rows = (row for row in read_rows(out) if not row["error"])
                self._keep(rows, out.stat().st_mtime_ns)
            self.part.open("a").close()  # here, and not after the first photograph
        self.done = set[str]()
        for row in read_rows(self.part, ".jsonl"):
            found = (row["weights_sha256"], row["protocol"])
            if found != (card.sha256, protocol_text(card, crops, intervals)):
                raise ScoreTableError(
                    f"{out}: holds scores of {row['model']} ({found}), not of {card.name} "
                    f"({card.sha256}); name another file, or remove it and {self.part.name}"
                )
            self.done.add(named_file(str(row["path"])))

    def _keep(self, rows: Iterable[Row], written: int) -> None:
        """Begin the journal with rows of an earlier run, but those of files that changed since."""
        current = (row for row in rows if not _changed(named_file(str(row["path"])), written))
        _write(self.part, partial(_write_jsonl, current))
        os.utime(self.part, ns=(written, written))  # until the next row, it is as old as they are

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows that a killed run will not lose.

        Raises:
            ScoreTableError: The disk is full, or the folder cannot be written to any more.
        """
        with self._writing(), self.part.open("a", encoding="utf-8") as lines:
            _write_lines(lines.write, rows)

    def rows(self) -> Iterator[Row]:
        """Read all rows so far."""
        return read_rows(self.part, ".jsonl")

    def count(self) -> int:
        """Count the rows so far, after cutting off one that an interruption left half written."""
        with self._writing():
            _drop_broken_line(self.part)
        return sum(1 for _ in self.rows())

    def finish(self) -> None:
        """Turn the journal into the table.

        Raises:
            ScoreTableError: As in `append`; the journal is kept.
        """
        with self._writing():
            suffix = _suffix(self.out)
            if suffix == ".jsonl":
                os.replace(self.part, self.out)
                return
            write = _write_csv if suffix == ".csv" else _write_parquet
            _write(self.out, partial(write, self.rows(), self.schema))
            self.part.unlink()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say where the scores are when they cannot be written further."""
        try:
            yield
        except OSError as error:
            kept = os.path.exists(self.part)  # where the name is too long, too
            raise ScoreTableError(
                f"{self.out}: cannot be written: {error.strerror or error}; "
                + (f"the scores so far are in {self.part}: " if kept else "")
                + "free the disk or make the folder writable, and the same command continues; "
                "or name another file"
            ) from error


def read_rows(path: Path, suffix: str = "") -> Iterator[Row]:
    """Read a table row by row.

    Raises:
        ScoreTableError: It is no table of scores.
    """
    try:
        match suffix or _suffix(path):
            case ".jsonl":
                with path.open(encoding="utf-8") as lines:
                    yield from (_required(json.loads(line), path) for line in lines)
            case ".csv":
                options = csv.ConvertOptions(
                    column_types=table_schema(intervals=True),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                )
                parse = csv.ParseOptions(newlines_in_values=True)
                with (
                    path.open("rb") as file,
                    csv.open_csv(file, convert_options=options, parse_options=parse) as batches,
                ):
                    for batch in batches:
                        yield from (_required(row, path) for row in batch.to_pylist())
            case _:
                with path.open("rb") as file:
                    for batch in parquet.ParquetFile(file).iter_batches(CHUNK):
                        yield from (_required(row, path) for row in batch.to_pylist())
    except (pa.ArrowInvalid, ValueError) as error:
        raise ScoreTableError(f"{path}: cannot be read as a table of scores: {error}") from error


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _require_table_or_nothing(path: Path) -> None:
    """Refuse what is no file of data before it is opened: a pipe would wait for its reader."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # not there, or a name that is too long: writing says so
        return
    if not stat.S_ISREG(mode):
        raise ScoreTableError(f"{path}: expected the name of a table, found {kind_of_file(mode)}")


def _changed(name: str, written: int) -> bool:
    """Tell whether a file was written after its score was; one that is gone was not."""
    try:
        return os.stat(name).st_mtime_ns > written
    except (OSError, ValueError):
        return False


def _journal_rows(journal: Path) -> Iterator[Row]:
    """Read the rows of a journal, but lines that a disk or a second program has broken."""
    broken = 0
    with journal.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # no JSON, or no UTF-8
                row = None
            if isinstance(row, dict):
                yield _required(row, journal)
            else:
                broken += 1
    if broken:
        logger.warning("%s: %d broken lines; their files are scored again", journal, broken)


def _required(row: Row, path: Path) -> Row:
    """Return a row that has what continuing a table asks for."""
    missing = [name for name in ("path", "error", *IDENTITY) if name not in row]
    if missing:
        raise ScoreTableError(
            f"{path}: expected a table of scores, found one without {missing}; name another file"
        )
    return row


def _drop_broken_line(journal: Path) -> None:
    """Cut off the line that a killed run did not end."""
    with journal.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        tail = min(end, 2**20)  # a row is far shorter
        file.seek(end - tail)
        file.truncate(end - tail + file.read().rfind(b"\n") + 1)


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill another file first, so that the table is never half there."""
    new = companion(path, ".new")
    try:
        write(new)
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _write_lines(write: Callable[[str], object], rows: Iterable[Row]) -> None:
    for row in rows:
        write(json.dumps(row) + "\n")


def _write_jsonl(rows: Iterator[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8") as lines:
        _write_lines(lines.write, rows)


def _write_csv(rows: Iterator[Row], schema: pa.Schema, path: Path) -> None:
    # pyarrow takes no names that are not Unicode: the file is opened here
    with path.open("wb") as file, csv.CSVWriter(file, schema) as writer:
        while chunk := list(islice(rows, CHUNK)):
            writer.write_table(pa.Table.from_pylist(chunk, schema))


def _write_parquet(rows: Iterator[Row], schema: pa.Schema, path: Path) -> None:
    with path.open("wb") as file, parquet.ParquetWriter(file, schema) as writer:
        while chunk := list(islice(rows, CHUNK)):
            writer.write_table(pa.Table.from_pylist(chunk, schema))
