"""The card of a quality model that `train_model.py` trains."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from attiqa.data.photo_folder import content_hash
from attiqa.data.rated_photos import RatedPhotos, Split, split_hash
from attiqa.model.cards import Card, Scale
from attiqa.model.quality_model import load_model
from attiqa.provenance.versions import versions
from experiments.iqa.recipes import Recipe, Settings


def describe(settings: Settings, recipe: Recipe, photos: RatedPhotos, split: Split) -> Card:
    """Write the card, but for the metrics."""
    names = [path.name for path in photos.paths]
    return Card(
        name=settings.name,
        kind="QualityNet",
        architecture=settings.architecture,
        protocol=settings.protocol,
        scale=Scale(*photos.scale, meaning="BIQ2021: mean opinion score"),
        teacher="measured: signal measurements of the five attributes, not CLIP",
        training={
            "data": f"{photos.name}, {len(split.train)} photographs of the official training part: "
            "pretrained without, fine-tuned with their scores",
            "data_sha256": content_hash(photos.paths),
            "split": {"train": len(split.train), "validation": len(split.validation)}
            | {"test": len(split.test), "sha256": split_hash(names, split)},
            "ranked_distortions": recipe.ranked,
            "views": recipe.views,
            "selection": recipe.selection,
            **_begun(settings),
            **_committee(settings, recipe),
            "license": "weights Apache-2.0; the photographs of BIQ2021 are for research use",
        },
        settings={k: v for k, v in asdict(settings).items() if not isinstance(v, Path)},
        metrics={},
        versions=versions(),
        limits=recipe.limits,
    )


def _begun(settings: Settings) -> dict[str, Any]:
    """Describe for the card the weights that the run began with."""
    if settings.start:
        card = load_model(settings.start).card
        only = f"{card.name} {str(card.sha256)[:16]}; of this recipe, only the last stage was run"
        return {"start": only, "init": card.training["init"]}
    return {"init": f"ImageNet weights from {settings.init.name}" if settings.init else "random"}


def _committee(settings: Settings, recipe: Recipe) -> dict[str, str]:
    """Describe for the card the networks whose scores were learnt in `touch`."""
    if settings.start or recipe.last_pairs is None or not settings.touch.distillation_weight:
        return {}
    init = settings.expert_init
    start = f"ImageNet weights from {init.name}" if init else "random weights"
    return {
        "committee": "`touch` learnt the mean score of itself after `whole`, of itself "
        f"after `fine` and of {settings.expert.backbone}, trained from {start} by `expert_whole` "
        "on the same photographs"
    }
