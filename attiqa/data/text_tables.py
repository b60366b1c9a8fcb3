"""Label tables, .csv and .xlsx, as text: nothing is guessed, renamed or shifted."""

import csv
import stat
import zipfile
from pathlib import Path

import pandas as pd

from attiqa.data.photos.formats import kind_of_file
from attiqa.errors import DatasetLayoutError


def open_table(path: Path) -> pd.DataFrame:
    """Read all columns as text.

    The header is read as a row: pandas renames a column whose name occurs twice, and takes the
    first one of rows that are longer than the header for an index.

    Raises:
        DatasetLayoutError: The file cannot be read, or has rows of another length.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe would wait for its writer
            raise DatasetLayoutError(f"{path}: expected a table, found {kind_of_file(mode)}")
        if path.suffix.lower() == ".xlsx":
            rows = pd.read_excel(path, dtype=str, na_filter=False, header=None)
        else:
            rows = _csv_rows(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetLayoutError(f"{path}: cannot be read as a table: {error}") from error
    if rows.empty:
        raise DatasetLayoutError(f"{path}: cannot be read as a table: it is empty")
    header = [str(column) for column in rows.iloc[0]]
    return rows.iloc[1:].reset_index(drop=True).set_axis(header, axis=1)


def _csv_rows(path: Path) -> pd.DataFrame:
    """Read a .csv file with its header as the first row; empty lines are passed over.

    Raises:
        ValueError: A row has more or fewer fields than the header.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        rows = []
        try:
            for row in reader:
                if not row or (len(row) == 1 and not row[0].strip()):
                    continue
                rows.append(row)
                if len(row) != len(rows[0]):
                    raise ValueError(
                        f"line {reader.line_num}: expected {len(rows[0])} fields as in the header, "
                        f"found {len(row)}: {','.join(row)[:80]}"
                    )
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
    return pd.DataFrame(rows, dtype=str)
