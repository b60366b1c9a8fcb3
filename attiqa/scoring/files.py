"""Scores for any number of image files: decoded ahead in threads, scored in batches.

Memory does not grow with the number of files: at most `batch + workers` photographs wait as crops,
and `workers` are being decoded, at about seven bytes per pixel.
"""

import logging
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

from attiqa.errors import ImageFileError, ImageFormatError
from attiqa.scoring.rows import FileScore
from attiqa.scoring.scorers import Scorer

logger = logging.getLogger(__name__)


def score_files(
    scorer: Scorer, paths: Iterable[Path], batch: int | None = None, workers: int = 2
) -> Generator[list[FileScore], None, None]:
    """Score image files by the protocol of the model's card, in the order given.

    Args:
        scorer: A model (`scorers.load_scorer`).
        paths: Image files; a file that cannot be scored becomes a row with an error.
        batch: Photographs that go through the network together; by default the scorer's.
        workers: Threads that decode ahead.

    Yields:
        The rows of one batch.
    """
    photos = batch or scorer.batch
    remaining = iter(paths)
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[_Decoded]] = deque()

    def decode_ahead(files: int) -> None:
        for path in islice(remaining, files):
            waiting.append(pool.submit(_decode, path, scorer))

    try:
        decode_ahead(photos + workers)
        while waiting:
            decoded = []
            while waiting and len(decoded) < photos:
                decoded.append(waiting.popleft().result())
                decode_ahead(1)
            yield _score_batch(scorer, decoded)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Decoded:
    """A file's row so far, and its crops where it could be read."""

    row: FileScore
    crops: Any | None


def _decode(path: Path, scorer: Scorer) -> _Decoded:
    """Read a file and cut its crops; runs in a thread."""
    try:
        look = scorer.look(path)
        return _Decoded(FileScore(path, look.width, look.height), look.crops)
    except (ImageFileError, ImageFormatError) as error:
        return _Decoded(FileScore(path, error=str(error)), None)
    except Exception as error:  # of a decoder, out of memory: this file's, not the run's
        logger.debug("%s", path, exc_info=True)
        return _Decoded(FileScore(path, error=_reason(path, error)), None)


def _reason(path: Path, error: Exception) -> str:
    """Say in one line why a file has no score."""
    text = " ".join(str(error).split())
    return f"{path}: {type(error).__name__}{f': {text}' if text else ''}"


def _score_batch(scorer: Scorer, decoded: list[_Decoded]) -> list[FileScore]:
    """Score the photographs of a batch; files that could not be read pass through.

    A batch that fails is scored one by one: it may be too large, or one photograph's fault.
    """
    crops = [item.crops for item in decoded if item.crops is not None]
    if not crops:
        return [item.row for item in decoded]
    try:
        scores = iter(scorer.score(crops))
    except Exception as error:
        if len(decoded) > 1:
            return [row for item in decoded for row in _score_batch(scorer, [item])]
        (item,) = decoded
        logger.debug("%s", item.row.path, exc_info=True)
        return [replace(item.row, error=_reason(item.row.path, error))]
    rows = []
    for item in decoded:
        row = item.row
        if item.crops is not None:
            score, attributes, spread = next(scores)
            row = replace(row, score=score, attributes=attributes, spread=spread)
            if not all(map(isfinite, (score, *attributes))):
                row = replace(item.row, error=f"{row.path}: the model gave {score}, {attributes}")
        rows.append(row)
    return rows
