"""What a measurement leaves in its folder beside its results: identity, divisions, predictions."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attiqa.data.rated_photos import RatedPhotos, Split
from attiqa.errors import CheckpointError
from attiqa.evaluation.protocols import Predictions
from attiqa.files import write_atomically
from attiqa.provenance.identity import differences


def begin(
    folder: Path, identity: Mapping[str, Any], claimed: bool = False
) -> dict[str, Any] | None:
    """Open a folder for a measurement, or find the one that was made there.

    Args:
        folder: Made where it does not exist.
        identity: All that the result depends on, ready for JSON; written as run.json.
        claimed: That file alone claims the folder; else a measurement that failed before it wrote
            anything else does not.

    Returns:
        The finished results.json, if there is one.

    Raises:
        CheckpointError: The folder belongs to another measurement: nothing is overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "run.json", json.dumps(identity, indent=2, default=str) + "\n"
    begun = any(entry != path for entry in folder.iterdir())
    if path.exists() and (begun or claimed):
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = differences(before, json.loads(text))
        if changed:
            raise CheckpointError(
                f"{folder}: holds another measurement: {'; '.join(changed)}. Use another --out"
            )
    else:
        write_atomically(path, text.encode())
    results = folder / "results.json"
    return json.loads(results.read_text(encoding="utf-8")) if results.exists() else None


def write_predictions(
    path: Path,
    predictions: Predictions,
    photos: RatedPhotos,
    split: Split | None = None,
    others: Sequence[RatedPhotos] = (),
) -> None:
    """Write a score for each photograph: data set, part, file name, opinion, score.

    Args:
        path: A CSV file.
        predictions: By part, as `protocols.one_split` returns them; "all" is the whole data set.
        photos: The data set.
        split: How it was divided.
        others: Further data sets, whose parts are called by their names.
    """
    by_name = {other.name: other for other in others}
    tables = []
    for part, scores in predictions.items():
        rated = by_name.get(part, photos)
        whole = part in by_name or part == "all" or split is None
        rows = np.arange(len(rated.paths)) if whole else getattr(split, part)
        table = {
            "data": rated.name,
            "part": "all" if whole else part,
            "name": [rated.names[int(row)] for row in rows],
            "mos": rated.mos[rows],
            "score": scores,
        }
        tables.append(pd.DataFrame(table))
    text = io.StringIO()
    pd.concat(tables).to_csv(text, index=False, lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue().encode(errors="surrogateescape"))
