"""What fine-tuning starts from: the rows of the tables.

| row | attribute labels | loss |
|---|---|---|
| ATTIQA | Table 1's prompts, or the best by both tasks of section 3.3 | Eq. 4 |
| ATTIQA (distortion intensity), (human perception) | the best by one task | Eq. 4 |
| single prompt | Good image, Bad image | Eq. 4 |
| worst prompt, median prompt | see `attiqa.teachers.choices.Place` for the two readings | Eq. 4 |
| L2 loss | as ATTIQA | squared error of Eq. 2's scores |

A measured teacher has no prompts: its row "single attribute" is sharpness alone, and its L2 loss is
to labels of unit deviation, as measurements have no Eq. 2. Baselines are networks that saw no
attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from attiqa.attributes import ATTRIBUTES
from attiqa.model.architecture import Architecture
from attiqa.reproduction.plan_file import Plan
from attiqa.teachers.choices import Place, Task
from attiqa.training.settings import PretrainSettings

Source = Literal["paper", "selected", "quality", "measured"]


@dataclass(frozen=True)
class Labelling:
    """Who labels the photographs that a start is pretrained on.

    Attributes:
        source: Table 1's prompts, prompts of our own selection, one pair for quality; or the
            measured teacher.
        place: Of a selection: which pair of each attribute.
        task: Of a selection: what its pairs are ordered by.
    """

    source: Source
    place: Place = "best"
    task: Task = "sum"

    @property
    def name(self) -> str:
        """A name for its folder and for the record."""
        return f"{self.place} by {self.task}" if self.source == "selected" else self.source


@dataclass(frozen=True)
class Start:
    """A network as it is before fine-tuning.

    Attributes:
        name: The row.
        architecture: Of the network.
        labelling: Who labels what it is pretrained on; None for a baseline.
        pretraining: How; unused for a baseline.
        baseline: Name of the baseline's weights in the plan.
        attributes: Columns of the labels that are learnt; all without.
    """

    name: str
    architecture: Architecture
    labelling: Labelling | None = None
    pretraining: PretrainSettings | None = None
    baseline: str | None = None
    attributes: tuple[str, ...] = ATTRIBUTES


OURS = "ATTIQA"
STRATEGIES = ("ATTIQA (distortion intensity)", "ATTIQA (human perception)")
ABLATIONS = (
    "single prompt",
    "single attribute (sharpness)",
    "worst prompt (most inverted)",
    "worst prompt (least informative)",
    "median prompt (of all)",
    "median prompt (by size)",
    "L2 loss",
)

AS_IN_THE_PAPER: Mapping[str, str] = {
    "single attribute (sharpness)": "single prompt",
    "worst prompt (most inverted)": "worst prompt",
    "worst prompt (least informative)": "worst prompt",
    "median prompt (of all)": "median prompt",
    "median prompt (by size)": "median prompt",
}
"""Rows of ours that stand beside a row of the paper under another name."""


def starts(plan: Plan) -> dict[str, Start]:
    """Return all starts that a plan's teacher can make, by name, and the plan's baselines."""
    measured = plan.teacher == "measured"
    joint = Labelling("measured" if measured else plan.prompts)
    ranking, network = plan.pretraining, plan.network
    l2 = replace(ranking, loss="standardised" if measured else "eq2")
    found = [Start(OURS, network, joint, ranking), Start("L2 loss", network, joint, l2)]
    if measured:
        one = ("sharpness",)
        narrow = replace(network, attributes=one)
        found.append(Start("single attribute (sharpness)", narrow, joint, ranking, attributes=one))
    else:
        one = ("quality",)
        narrow, quality = replace(network, attributes=one), Labelling("quality")
        found.append(Start("single prompt", narrow, quality, ranking, attributes=one))
        chosen: dict[str, tuple[Place, Task]] = {
            STRATEGIES[0]: ("best", "distortion"),
            STRATEGIES[1]: ("best", "human"),
            "worst prompt (most inverted)": ("worst", "sum"),
            "worst prompt (least informative)": ("least-informative", "sum"),
            "median prompt (of all)": ("median", "sum"),
            "median prompt (by size)": ("median-informative", "sum"),
        }
        found += [
            Start(name, network, Labelling("selected", *choice), ranking)
            for name, choice in chosen.items()
        ]
    for name, baseline in plan.baselines.items():
        architecture = replace(
            network, backbone=baseline.backbone, mean=baseline.mean, std=baseline.std
        )
        found.append(Start(name, architecture, baseline=name))
    return {start.name: start for start in found}
