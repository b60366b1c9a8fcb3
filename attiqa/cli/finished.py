"""`attiqa evaluate as-is` and `pairs`: any model of `attiqa.evaluation.finished.sources`."""

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from attiqa.cli.settings.evaluate import Settings
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.preference_pairs import read_preferences
from attiqa.data.rated_photos import RatedPhotos
from attiqa.evaluation.finished.models import FinishedModel, open_finished
from attiqa.evaluation.metrics import preference_accuracy
from attiqa.evaluation.protocols import as_is, labels_hash, provenance
from attiqa.evaluation.run_folder import begin, write_predictions
from attiqa.provenance.identity import array_hash


def measure_finished(
    settings: Settings, record: Mapping[str, Any], device: torch.device
) -> dict[str, Any]:
    """Measure a model as it is; a result that was made before is read.

    Args:
        settings: Of the command; the protocol is as-is or pairs.
        record: They as JSON.
        device: Where the model runs.

    Raises:
        AttiqaError: The model or the data cannot be read.
        CheckpointError: The folder holds a result of another model or of other data.
    """
    model = open_finished(settings.model, device)
    measure = preferences if settings.protocol == "pairs" else zero_shot
    return {
        "model_sha256": model.sha256,
        "model": dict(model.record),
        **measure(settings, model, record),
    }


def zero_shot(
    settings: Settings, model: FinishedModel, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Score a whole data set."""
    photos = load_dataset(settings.dataset, settings.data, settings.subset, settings.scale)
    about = {"model": model.sha256, "data": labels_hash(photos)}
    done = begin(settings.folder, {"protocol": "as-is", **about})
    if done:
        return done

    def predict(photos: RatedPhotos, indices: np.ndarray) -> Float[np.ndarray, " n"]:
        scores = model.predict(photos, indices)
        write_predictions(settings.folder / "predictions.csv", {"all": scores}, photos)
        return scores

    return as_is(photos, predict, record, model.trained_on)


def preferences(
    settings: Settings, model: FinishedModel, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Count the pairs in which the model prefers what most people prefer (section 5.1)."""
    paths, pairs = read_preferences(settings.data)
    about = {
        "model": model.sha256,
        "photographs": [path.name for path in paths],
        "pairs": [array_hash(np.asarray(column)) for column in astuple(pairs)],
    }
    done = begin(settings.folder, {"protocol": "pairs", **about})
    if done:
        return done
    scores = model.score(paths)
    first, second = scores[pairs.first], scores[pairs.second]
    found = preference_accuracy(first - second, pairs.shares - 0.5)
    return {
        "result": {"pair_accuracy": found.share, "pairs": found.pairs},
        "scores": np.stack([first, second], axis=1).tolist(),
        **provenance([], record),
    }
