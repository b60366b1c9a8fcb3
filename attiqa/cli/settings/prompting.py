"""Which antonym prompts CLIP labels with: the paper's, one for quality, chosen ones, your own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attiqa.attributes import PROMPTS, QUALITY_PROMPT, PromptPair
from attiqa.errors import CheckpointError, did_you_mean
from attiqa.labels.columns import PHOTO_COLUMNS
from attiqa.teachers.choices import Place, Task
from attiqa.teachers.selected_prompts import read_prompts

NAMED = {"paper": PROMPTS, "quality": QUALITY_PROMPT}


@dataclass(frozen=True)
class Prompting:
    """The prompts of CLIP as a teacher; one pair is one column of labels and one head."""

    prompts: str = "paper"
    """CLIP: paper (Table 1), quality (one pair instead of five: Good image, Bad image), the
    prompts.json of `attiqa select-prompts`, or a JSON file of your own, the positive one first:
    {"sharpness": ["Sharp image", "Blurry image"], ...}"""
    place: Place = "best"
    """Of select-prompts' file: which pair of each attribute."""
    task: Task = "sum"
    """Of that file: what its pairs are ordered by; distortion is task 1, human task 2."""

    def read(self) -> dict[str, PromptPair]:
        """Get the pairs by attribute.

        Raises:
            CheckpointError: The file cannot be read, or is no selection though a place or task of
                one is asked for.
        """
        if self.prompts in NAMED:
            self._require_best("has one pair of each attribute")
            return dict(NAMED[self.prompts])
        path = Path(self.prompts)
        content = _read_json(path)
        if _is_selection(content):
            return read_prompts(path, self.place, self.task)
        self._require_best("is no file of select-prompts")
        return _own_pairs(path, content)

    def describe(self) -> str:
        """Say in words where the pairs come from.

        Raises:
            CheckpointError: The file cannot be read.
        """
        if self.prompts in NAMED:
            return self.prompts
        path = Path(self.prompts)
        chosen = f", {self.place} by {self.task}" if _is_selection(_read_json(path)) else ""
        return path.name + chosen

    def _require_best(self, why: str) -> None:
        if (self.place, self.task) != ("best", "sum"):
            raise CheckpointError(
                f"{self.prompts} {why}: place and task cannot be {self.place} and {self.task}"
            )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"prompts: expected {', '.join(NAMED)} or a JSON file; {path}: {error}"
            + did_you_mean(str(path), NAMED)
        ) from error


def _is_selection(content: Any) -> bool:
    """Tell whether `attiqa select-prompts` wrote this."""
    return isinstance(content, Mapping) and isinstance(content.get("attributes"), Mapping)


def _own_pairs(path: Path, content: Any) -> dict[str, PromptPair]:
    """Check what a file gives as attribute to [positive, negative]."""
    good = isinstance(content, Mapping) and content and not content.keys() & set(PHOTO_COLUMNS)
    for pair in content.values() if good else ():
        good = good and isinstance(pair, list) and len(pair) == 2
        good = good and all(isinstance(text, str) and text for text in pair)
    if not good:
        raise CheckpointError(
            f'{path}: expected {{"ATTRIBUTE": ["POSITIVE", "NEGATIVE"], ...}}, no attribute named '
            f"as one of {PHOTO_COLUMNS}; found {str(content)[:200]}"
        )
    return {name: PromptPair(*pair) for name, pair in content.items()}
