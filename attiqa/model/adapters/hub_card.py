"""A model's card in the form of the Hugging Face hub: YAML fields and Markdown, from its JSON card.

Source: the hub's specification of model cards (https://huggingface.co/docs/hub/model-cards), with
results as a model-index.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from attiqa.model.cards import Card

LIBRARY = "attiqa"
TASK = "image-classification"
"""The nearest of the hub's tasks: it has none for quality."""
TASK_NAME = "No-reference image quality assessment"
TAGS = ("image-quality-assessment", "no-reference", "attributes", "pytorch", "safetensors", "onnx")
PAPER = "arxiv:2406.01020"

METRICS = {"srocc": "spearmanr", "plcc": "pearsonr", "krocc": "kendalltau", "rmse": "rmse"}
"""Names of metrics in our cards, and on the hub."""

DATASETS = (
    *("KonIQ-10k", "CLIVE", "SPAQ", "FLIVE", "AVA", "AGIQA-3k", "KADID-10k", "TID2013"),
    *("BIQ2021", "UHD-IQA"),
)
"""Data sets by the names that cards call them."""

LICENSES = {"apache-2.0": "apache-2.0", "mit": "mit", "cc-by-4.0": "cc-by-4.0"}
"""What a card's statement of the licence contains, and the hub's identifier."""

CITATION = """\
@inproceedings{kwon2024attiqa,
  title     = {ATTIQA: Generalizable Image Quality Feature Extractor using Attribute-aware
               Pretraining},
  author    = {Kwon, Daekyu and Kim, Dongyoung and Ki, Sehwan and Jo, Younghyun and Lee, Hyong-Euk
               and Kim, Seon Joo},
  booktitle = {Asian Conference on Computer Vision},
  year      = {2024}
}"""


def hub_card(card: Card, repository: str = "owner/repository") -> ModelCard:
    """Write the card of a quality model for the hub.

    Args:
        card: Of the model.
        repository: Where it will be found, for the example.
    """
    return ModelCard(f"---\n{card_data(card).to_yaml()}\n---\n\n{_text(card, repository)}")


def card_data(card: Card) -> ModelCardData:
    """Fill the fields that the hub searches by; results become a model-index."""
    license_, stated = _license(card)
    results = list(_results(card))
    return ModelCardData(
        license=license_,
        license_name=stated,
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=[*TAGS, PAPER, card.architecture.backbone],
        datasets=_datasets(card) or None,
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=card.name,
        eval_results=results or None,
    )


def _license(card: Card) -> tuple[str, str | None]:
    """Return the hub's identifier; other licences have a name besides."""
    stated = str(card.training.get("license", ""))
    for words, identifier in LICENSES.items():
        if re.search(rf"(?<![\w-]){re.escape(words)}(?![\w-])", stated, re.IGNORECASE):
            return identifier, None
    return "other", stated or "not stated"


def _datasets(card: Card) -> list[str]:
    """Name the data sets whose opinion scores the model was trained on."""
    data = str(card.training.get("data", ""))
    return [
        name
        for name in DATASETS
        if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", data, re.IGNORECASE)
    ]


def _results(card: Card) -> Iterator[EvalResult]:
    """Turn every group of metrics with a SROCC into results of the hub's form."""
    name = ", ".join(_datasets(card)) or "not stated"
    for place, found in _measured(card.metrics):
        split, *how = place
        for metric, identifier in METRICS.items():
            if metric in found:
                yield EvalResult(
                    task_type=TASK,
                    task_name=TASK_NAME,
                    dataset_type=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
                    dataset_name=name,
                    dataset_split=split,
                    dataset_config=", ".join(how) or None,
                    metric_type=identifier,
                    metric_name=metric.upper(),
                    metric_value=round(float(found[metric]), 4),
                )


def _measured(
    metrics: Mapping[str, Any], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Find the groups of results that compare scores with people's, and the path to each."""
    if place and isinstance(metrics.get("srocc"), int | float) and "plcc" in metrics:
        yield place, metrics
        return
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _measured(value, (*place, key))


def _text(card: Card, repository: str) -> str:
    """Say in Markdown what the scores mean, where they come from and how good they are."""
    assert card.scale is not None
    low, high = card.scale.low, card.scale.high
    sides = ", ".join(str(side or "its own") for side in card.protocol.short_sides)
    return "\n".join(
        (
            f"# {card.name}",
            "",
            f"No-reference image quality, {low:g} to {high:g}, higher is better "
            f"({card.scale.meaning}), and {len(card.attributes)} attributes in standard deviations "
            f"of the training photographs: {', '.join(card.attributes)}.",
            "",
            "## Use",
            "",
            "```python",
            "from attiqa import load_model",
            "",
            f'model = load_model("hf://{repository}")',
            'prediction = model.score("photo.jpg")  # a photograph of any size',
            "print(prediction.score, prediction.attributes)",
            "```",
            "",
            f"From a shell: `attiqa score PHOTOS --model hf://{repository}`.",
            "",
            "## Model",
            "",
            f"- Network: {card.architecture.backbone} and a head for each attribute, whose "
            "features a regressor turns into the score (ATTIQA, ACCV 2024, "
            "[arXiv:2406.01020](https://arxiv.org/abs/2406.01020), sections 3.4 and 3.5)",
            f"- Teacher of the attributes: {card.teacher}",
            f"- Protocol: short side resized to {sides} pixels, mean of five crops of "
            f"{card.protocol.crop}",
            f"- Weights: SHA-256 {card.sha256 or 'in the JSON card'}",
            "",
            "## Limits",
            "",
            card.limits,
            "",
            "## Training",
            "",
            *(f"- {key}: {_inline(value)}" for key, value in card.training.items() if value),
            "",
            "All settings are in the JSON file beside the weights.",
            "",
            "## Evaluation",
            "",
            "| measured on | SROCC | PLCC | KROCC | RMSE |",
            "|---|---|---|---|---|",
            *(_row(place, found) for place, found in _measured(card.metrics)),
            "",
            "## Versions",
            "",
            ", ".join(f"{name} {version}" for name, version in card.versions.items()),
            "",
            "## Citation",
            "",
            "```bibtex",
            CITATION,
            "```",
            "",
        )
    )


def _row(place: tuple[str, ...], found: Mapping[str, Any]) -> str:
    numbers = (f"{found[name]:.3f}" if name in found else "" for name in METRICS)
    return f"| {', '.join(place)} | {' | '.join(numbers)} |"


def _inline(value: Any) -> str:
    """Write a value of a card in a line of Markdown."""
    return value if isinstance(value, str) else f"`{json.dumps(value, default=str)}`"
