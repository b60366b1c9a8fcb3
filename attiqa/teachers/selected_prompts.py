"""The pairs that a selection of prompts has chosen (`attiqa select-prompts`), for a teacher."""

import json
from pathlib import Path

from attiqa.attributes import ATTRIBUTES, PromptPair
from attiqa.errors import CheckpointError
from attiqa.teachers.choices import Place, Task


def read_prompts(path: Path, place: Place = "best", task: Task = "sum") -> dict[str, PromptPair]:
    """Read the pairs of a selection's JSON file.

    Raises:
        CheckpointError: The file is missing, no selection, or was made without this task.
    """
    try:
        attributes = json.loads(path.read_text(encoding="utf-8"))["attributes"]
        selected = {name: attributes[name]["selected"] for name in ATTRIBUTES}
        tasks = set.intersection(*(set(tasks) for tasks in selected.values()))
        if task not in tasks:
            advice = "; select-prompts --spaq adds it" if task == "human" else ""
            raise CheckpointError(
                f"task: {path} has {', '.join(sorted(tasks))}; found {task!r}{advice}"
            )
        chosen = {name: tasks[task][place] for name, tasks in selected.items()}
        return {
            name: PromptPair(pair["positive"], pair["negative"]) for name, pair in chosen.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a selection of prompts with {task}/{place}: {error!r}"
        ) from error
