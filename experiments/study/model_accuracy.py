"""Accuracy of quality models on the pairs of a study: Table 5 of the paper."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attiqa.data.photo_folder import PhotoFiles
from attiqa.evaluation.metrics import preference_accuracy
from attiqa.evaluation.predictions import quality_scores
from attiqa.evaluation.preferences import clustered_interval, draw_both
from attiqa.model.quality_model import load_model


def model_accuracy(
    source: str, preferences: pd.DataFrame, pictures: Path, resamples: int, seed: int
) -> dict[str, Any]:
    """Count the pairs in which a model prefers what most participants prefer, for JSON.

    Args:
        source: What `load_model` takes.
        preferences: From `preferences_of`.
        pictures: Folder of the study's pictures.
        resamples: Of a bootstrap over scenes.
        seed: Of the same.
    """
    model = load_model(source)
    files = sorted({*preferences["first_file"], *preferences["second_file"]})
    found = quality_scores(
        model.net, PhotoFiles(pictures / file for file in files), model.card.protocol
    )
    scores = dict(zip(files, found, strict=True))
    advantage = np.array(
        [
            scores[first] - scores[second]
            for first, second in zip(
                preferences["first_file"], preferences["second_file"], strict=True
            )
        ],
        np.float64,
    )
    preference = np.asarray(preferences["share"], np.float64) - 0.5
    accuracy = preference_accuracy(advantage, preference)
    result = {"model": source, "sha256": model.card.sha256, "pairs": accuracy.pairs}
    if not accuracy.pairs:
        return result | {"accuracy": None, "interval": None}
    agreed = (np.sign(advantage * preference) + 1) / 2 * (preference != 0)
    scenes, column = np.unique(np.asarray(preferences["scene"]), return_inverse=True)
    wins, votes = (
        np.bincount(column, weights, len(scenes))[None]
        for weights in (agreed, (preference != 0).astype(np.float64))
    )
    interval = clustered_interval(wins, votes, draw_both(1, len(scenes), resamples, seed))
    return result | {"accuracy": accuracy.share, "interval": list(interval)}
