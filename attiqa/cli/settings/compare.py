"""Settings of `attiqa compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from attiqa.cli.settings.checks import require_dataset
from attiqa.errors import AttiqaError
from attiqa.evaluation.finished.sources import check_source


@dataclass(frozen=True)
class Settings:
    """Compare finished models on the same photographs, with paired tests.

    Run it again to continue where it was interrupted, or to add models: what is scored is kept.
    """

    data: Positional[Path]
    """Folder of the data set."""
    models: tuple[str, ...]
    """The first is what the others are compared with. "embedded", a .safetensors file or any other
    name of a model; pyiqa:NAME, a metric of pyiqa (an extra); table:FILE, scores of another program
    (.csv or .xlsx, columns name and score, higher is better); clip-iqa[:ARCHITECTURE[@PRETRAINED]],
    CLIP with the prompts "Good photo." and "Bad photo."."""
    dataset: str = "koniq"
    """Name of its official layout; "plain" for photographs of your own with a scores.csv."""
    scale: tuple[float, float] | None = None
    """Lowest and highest possible score, of "plain" only."""
    subset: bool = False
    """The folders hold a part of their data sets on purpose."""
    others: tuple[str, ...] = ()
    """More data sets, NAME=FOLDER."""
    part: Literal["all", "official-test"] = "all"
    """Photographs of each data set that are scored."""
    device: str = "cpu"
    """Where the models run, such as "cuda"; all are in its memory together."""
    resamples: int = 1000
    """Draws of photographs for the intervals (95 %)."""
    seed: int = 0
    """Of the draws."""
    out: Path = Path("runs/compare")
    """Folder for results.json, results.md, the predictions for each photograph, and scores/."""

    def check(self) -> None:
        """Refuse data sets and models that are not known or not there.

        Raises:
            AttiqaError: One of them is not, or a model is named twice.
        """
        if not self.models or len(set(self.models)) < len(self.models):
            raise AttiqaError(f"--models: expected different models; found {list(self.models)}")
        if self.resamples < 1:
            raise AttiqaError(f"--resamples {self.resamples}: expected a number of 1 or more")
        require_dataset(self.dataset, self.data, self.scale, self.others)
        for model in self.models:
            check_source(model)
