"""What the official layouts share: label tables that are verified, and images that must be there.

Labels are read and checked before any image is looked for. More rows than published, a name twice,
a missing column or a score out of range are always errors. Fewer rows, or rows without an image,
are errors unless the caller asks for a subset on purpose: they are then logged and recorded.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from attiqa.attributes import ATTRIBUTES
from attiqa.data.datasets.image_names import ImageNames, name_key
from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.data.text_tables import open_table
from attiqa.errors import DatasetLayoutError

LOG = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Labels:
    """What the label files of a data set say.

    Attributes:
        dataset: The data set's own name.
        source: The label files.
        scale: Lowest and highest possible score, of attributes too.
        table: `name` of the image file, `mos`, and where the data set has them `part` (one of
            `PARTS`), `group`, the five attributes, and `deviation`, the standard deviation of the
            opinions on `scale`; other columns become factors. All are as published: text, but for
            the scores that a reader computes.
        dropped: Published entries that the table leaves out, by file name.
        votes: Share of the opinions at each level for each row of the table.
    """

    dataset: str
    source: str
    scale: tuple[float, float]
    table: pd.DataFrame
    dropped: tuple[str, ...] = ()
    votes: Float[np.ndarray, "n k"] | None = None


def find_file(folder: Path, candidates: Sequence[str], dataset: str) -> Path:
    """Choose the first label file that exists.

    Raises:
        DatasetLayoutError: None does.
    """
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    raise DatasetLayoutError(
        f"{folder}: expected the {dataset} layout with the label file {' or '.join(candidates)}"
    )


def find_folder(folder: Path, candidates: Sequence[str], dataset: str) -> Path:
    """Choose the first image folder that exists.

    Raises:
        DatasetLayoutError: None does.
    """
    for candidate in candidates:
        if (folder / candidate).is_dir():
            return folder / candidate
    raise DatasetLayoutError(
        f"{folder}: expected the {dataset} layout with the images in "
        f"{' or '.join(f'{candidate}/' for candidate in candidates)}"
    )


def read_table(
    path: Path, columns: Mapping[str, str], optional: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read columns of a .csv or .xlsx file as text and give them our names.

    Text stays as it is written: 0001, NA, null, 1e5 and True may be names of files. Case is ignored
    in column names, and an underscore is a space: spreadsheets that were exported to CSV differ in
    both.

    Args:
        path: The file.
        columns: Published name to ours; other columns are left out.
        optional: The same of columns that some copies of the file lack.

    Raises:
        DatasetLayoutError: The file cannot be read or has no rows, or a column is missing
            or there twice.
    """
    table = open_table(path)
    found = {_plain(str(column)): column for column in table.columns}
    missing = [column for column in columns if _plain(column) not in found]
    if missing:
        raise DatasetLayoutError(f"{path}: no column {missing}; found {[str(c) for c in table]}")
    there = {name: ours for name, ours in (optional or {}).items() if _plain(name) in found}
    columns = {**columns, **there}
    counts = Counter(_plain(str(column)) for column in table.columns)
    if twice := [column for column in columns if counts[_plain(column)] > 1]:
        raise DatasetLayoutError(f"{path}: columns {twice} occur twice; expected each once")
    if table.empty:
        raise DatasetLayoutError(f"{path}: a header without rows; expected a row per photograph")
    return pd.DataFrame({ours: table[found[_plain(theirs)]] for theirs, ours in columns.items()})


def read_columns(path: Path) -> list[str]:
    """Return names of the columns of a .csv or .xlsx file, in small letters.

    Raises:
        DatasetLayoutError: The file cannot be read.
    """
    return [_plain(str(column)) for column in open_table(path)]


def numbers(table: pd.DataFrame, column: str) -> Float[np.ndarray, " n"]:
    """Turn the text of a column into numbers; nan where it is none, which `verify` refuses."""
    return np.asarray(pd.to_numeric(table[column], errors="coerce"), np.float64)


def reference_type_level(labels: Labels) -> Labels:
    """Take group, type and level from names such as I01_25_5.png, as KADID-10k and TID2013 do.

    Raises:
        DatasetLayoutError: A name has another form.
    """
    names = labels.table["name"]
    fields = names.str.extract(r"^[Ii](\d+)_(\d+)_(\d+)\.\w+$")
    if fields.isna().any(axis=None):
        strange = names[fields[0].isna()]
        raise DatasetLayoutError(
            f"{labels.source}: expected names like I01_01_1.bmp, found {_some(strange)}"
        )
    parsed = {
        "group": "I" + fields[0],
        "type": fields[1].astype(int),
        "level": fields[2].astype(int),
    }
    return replace(labels, table=labels.table.assign(**parsed))


def verify(
    labels: Labels, rows: int | None, subset: bool, parts: Mapping[str, int] | None = None
) -> Labels:
    """Check rows, names, scores and parts.

    Args:
        labels: As read; scores may still be text.
        rows: The published number; None where there is none.
        subset: Fewer rows are meant.
        parts: The published size of each part.

    Returns:
        The labels with scores as numbers.

    Raises:
        DatasetLayoutError: A check fails; the message says where and by how much.
    """
    table = labels.table.reset_index(drop=True)
    where, (low, high) = labels.source, labels.scale
    if table.empty:
        raise DatasetLayoutError(f"{where}: no rows; expected one per photograph")
    for column, what in (("name", "a file name"), ("group", "a group")):
        empty = sum(value in ("", None) for value in table[column]) if column in table else 0
        if empty:
            raise DatasetLayoutError(f"{where}: {empty} rows without {what}")
    twice = table["name"][table["name"].map(name_key).duplicated()]
    if len(twice):
        raise DatasetLayoutError(
            f"{where}: {len(twice)} names occur twice, or are the same but for their spelling: "
            + _some(twice)
        )
    ranges = dict.fromkeys(("mos", *ATTRIBUTES), (low, high)) | {"deviation": (0, high - low)}
    for column, (least, most) in ranges.items():
        if column not in table:
            continue
        values = numbers(table, column)
        outside = ~((values >= least) & (values <= most))
        if outside.any():
            strange = (f"{table['name'][i]} {table[column][i]}" for i in np.flatnonzero(outside))
            raise DatasetLayoutError(
                f"{where}: expected {column} in [{least:g}, {most:g}]; {outside.sum()} rows "
                f"differ: {_some(strange)}"
            )
        table[column] = values
    if labels.votes is not None:
        total = labels.votes.sum(axis=1)
        strange = table["name"][~((labels.votes >= 0).all(axis=1) & (abs(total - 1) < 1e-3))]
        if len(strange):
            raise DatasetLayoutError(
                f"{where}: expected shares of votes that sum to 1; {len(strange)} rows differ: "
                + _some(strange)
            )
    if rows is not None and len(table) != rows:
        message = f"{where}: expected {rows} rows, found {len(table)}"
        if len(table) > rows:
            raise DatasetLayoutError(message)
        _object(message, subset)
    if parts is not None:
        found = Counter(str(part) for part in table["part"])
        if not found.keys() <= parts.keys():
            raise DatasetLayoutError(f"{where}: expected the parts {list(parts)}, found {found}")
        if found != parts:
            _object(f"{where}: expected {dict(parts)} photographs, found {dict(found)}", subset)
    return replace(labels, table=table)


def rate(labels: Labels, images: Path, subset: bool, absent_at_most: int = 0) -> RatedPhotos:
    """Join verified labels and their images.

    Where no file has exactly the name, those are found that differ in the case of letters, in the
    Unicode form, or in how a path is written: published labels and files differ in these.

    Args:
        labels: From `verify`.
        images: Names are relative to it.
        subset: Rows without an image are left out.
        absent_at_most: So many rows without an image are left out in any case: the data set itself
            is known to lack them.

    Raises:
        DatasetLayoutError: Images are missing, or all are.
    """
    names = list(labels.table["name"])
    files = ImageNames(images)
    found = [files.find(name) for name in names]
    absent = [name for name, path in zip(names, found, strict=True) if path is None]
    if absent:
        _object(
            f"{images}: {len(absent)} of {len(names)} labelled images missing: {_some(absent)}",
            (subset or len(absent) <= absent_at_most) and len(absent) < len(names),
        )
    there = np.flatnonzero([path is not None for path in found])
    table = labels.table.iloc[there]
    known = {"name", "mos", "deviation", "part", "group", *ATTRIBUTES}
    return RatedPhotos(
        name=labels.dataset,
        paths=tuple(path for path in found if path is not None),
        mos=np.asarray(table["mos"], np.float64),
        scale=labels.scale,
        source=f"{labels.source}; {images.name}/",
        attributes=np.asarray(table[list(ATTRIBUTES)], np.float64)
        if ATTRIBUTES[0] in table
        else None,
        deviations=np.asarray(table["deviation"], np.float64) if "deviation" in table else None,
        votes=None if labels.votes is None else labels.votes[there],
        groups=tuple(table["group"].tolist()) if "group" in table else None,
        factors={str(c): tuple(table[c].tolist()) for c in table if c not in known},
        split=_split(np.asarray(table["part"])) if "part" in table else None,
        dropped=(*labels.dropped, *absent),
    )


def _split(part: np.ndarray) -> Split:
    """Turn the name of each photograph's part into indices."""
    return Split(*(np.flatnonzero(part == name) for name in PARTS))


def _object(message: str, meant: bool) -> None:
    """Log what the caller meant to accept, raise what not."""
    if not meant:
        raise DatasetLayoutError(f"{message}; a part of the data set is read with subset=True")
    LOG.warning(message)


def _plain(column: str) -> str:
    """Reduce a column's name to what does not vary between exports."""
    return column.strip().replace("_", " ").casefold()


def _some(names: Iterable[str]) -> str:
    """Name the first five."""
    names = list(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
