"""`attiqa evaluate as-is` and `pairs` of models that are none of our networks (`sources`)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from attiqa.cli.settings.evaluate import Settings
from attiqa.data.datasets.registry import load_dataset
from attiqa.data.preference_pairs import read_preferences
from attiqa.evaluation.finished_models import FinishedModel, open_finished
from attiqa.evaluation.metrics import preference_accuracy
from attiqa.evaluation.protocols import as_is, provenance


def measure_finished(
    settings: Settings, record: Mapping[str, Any], device: str = "cpu"
) -> dict[str, Any]:
    """Measure a model that cannot be trained here.

    Args:
        settings: Of the command; the protocol is as-is or pairs.
        record: They as JSON.
        device: Where the model runs.

    Raises:
        AttiqaError: The model or the data cannot be read.
    """
    model = open_finished(settings.model, device)
    found = {"model_sha256": model.sha256, "model": dict(model.record)}
    if settings.protocol == "pairs":
        return found | _preferences(settings, model) | provenance([], record)
    photos = load_dataset(settings.dataset, settings.data, settings.subset, settings.scale)
    return found | as_is(photos, model.predict, record, model.trained_on)


def _preferences(settings: Settings, model: FinishedModel) -> dict[str, Any]:
    """Count the pairs in which the model prefers what most people prefer (section 5.1)."""
    paths, preferences = read_preferences(settings.data)
    scores = model.score(paths)
    first, second = scores[preferences.first], scores[preferences.second]
    found = preference_accuracy(first - second, preferences.shares - 0.5)
    return {
        "result": {"pair_accuracy": found.share, "pairs": found.pairs},
        "scores": np.stack([first, second], axis=1).tolist(),
    }
