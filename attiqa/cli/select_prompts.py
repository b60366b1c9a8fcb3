"""`attiqa select-prompts`: the best antonym prompts of each attribute, as JSON and as a figure."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich import print
from rich.table import Table

from attiqa.cli.devices import require_device
from attiqa.cli.settings.select_prompts import Settings
from attiqa.data.photo_folder import list_photos
from attiqa.files import write_atomically
from attiqa.provenance.versions import versions
from attiqa.teachers.embedding_cache import EmbeddingCache
from attiqa.teachers.prompt_search import RatedAttributes, rated_attributes, search_prompts
from attiqa.teachers.prompt_selection import PairScores
from attiqa.teachers.teacher import ClipTeacher


def main(settings: Settings) -> None:
    """Encode, score, write the result, print the chosen pairs."""
    rated = RatedAttributes()
    if settings.spaq:
        rated = rated_attributes(settings.spaq, settings.spaq_share, settings.subset, settings.seed)
    clean = [path for entry in settings.photos for path in _files(entry)]
    device = require_device(settings.device)
    clip, weights = settings.encoder.clip, settings.encoder.clip_weights
    teacher = ClipTeacher(clip, weights, device, settings.view, settings.side)
    cache = EmbeddingCache(teacher, settings.cache, settings.batch_size)
    results, found = search_prompts(cache, clean, rated, settings.short_side, settings.seed)
    record = {"settings": asdict(settings), "versions": versions()} | found
    settings.out.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    draw(results).savefig(picture, format="png", dpi=100)
    write_atomically(settings.out / "prompts.png", picture.getvalue())
    text = json.dumps(record, default=str) + "\n"
    write_atomically(settings.out / "prompts.json", text.encode())
    print(_table(results), f"written to {settings.out}")


def draw(results: Mapping[str, PairScores]) -> Figure:
    """Draw the sums of all pairs as one heat map per attribute; a square marks the best pair."""
    figure = Figure(figsize=(24, 17), layout="constrained")
    axes = figure.subplots(2, 3)
    limit = max(np.abs(scores.table()).max() for scores in results.values())
    colors = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
    for panel, (attribute, scores) in zip(axes.flat, results.items(), strict=False):
        panel.imshow(scores.table(), norm=colors.norm, cmap=colors.cmap)
        row, column = scores.place("best")
        panel.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="lime", linewidth=3)
        )
        best = scores.describe(row, column)
        panel.set_title(
            f"{attribute}: {best['positive']} / {best['negative']}, {best['sum']:.3f}", fontsize=13
        )
        positive, negative = scores.candidates
        panel.set_yticks(range(len(positive)), _adjectives(positive), fontsize=7)
        panel.set_xticks(range(len(negative)), _adjectives(negative), fontsize=7, rotation=90)
        panel.set_ylabel("positive")
        panel.set_xlabel("negative")
    axes.flat[-1].axis("off")
    tasks = "distortion" if next(iter(results.values())).human is None else "distortion + human"
    figure.colorbar(colors, ax=axes.flat[-1], label=f"SROCC, {tasks}", fraction=0.1)
    return figure


def _adjectives(prompts: Sequence[str]) -> list[str]:
    return [prompt.removesuffix(" image") for prompt in prompts]


def _table(results: Mapping[str, PairScores]) -> Table:
    table = Table(
        "attribute", "positive", "negative", "distortion", "human", "sum", "median", "worst"
    )
    for attribute, scores in results.items():
        best, median, worst = (
            scores.describe(*scores.place(place)) for place in ("best", "median", "worst")
        )
        human = "" if best["human"] is None else f"{best['human']:.3f}"
        sums = (f"{pair['sum']:.3f}" for pair in (best, median, worst))
        prompts = _adjectives((best["positive"], best["negative"]))
        table.add_row(attribute, *prompts, f"{best['distortion']:.3f}", human, *sums)
    return table


def _files(entry: Path) -> tuple[Path, ...]:
    return list_photos(entry) if entry.is_dir() else (entry,)
