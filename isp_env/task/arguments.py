"""Scenes and rewards of the tuning task, by name or as what one has at hand."""

import logging
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import torch

from isp_env.errors import IspEnvError
from isp_env.raw import read_raw
from isp_env.raw.find import find_inputs
from isp_env.scenes.preview_set import PreviewSet
from isp_env.scenes.preview_store import INDEX, PreviewStore
from isp_env.scenes.samples import sample_files
from isp_env.task.reward import QualityReward, ShotJudge

log = logging.getLogger(__name__)

SAMPLES = "samples"
SIDE = 112
"""Pixels of the square previews of files."""
JUDGES = "isp_env.judges"
"""Entry points of quality models: name -> a function of the device that returns a judge."""
EMBEDDED = "attiqa-mini"

Scenes = PreviewSet | PreviewStore | str | Path
Reward = QualityReward | ShotJudge | Callable | str


class ArgumentError(IspEnvError, ValueError):
    """An argument of the task that stands for nothing; the message says what would."""


def scenes_of(scenes: Scenes) -> PreviewSet:
    """Return the scenes that an argument stands for.

    Args:
        scenes: A preview set; a store, or the folder of one; a RAW file, a folder of RAW files or a
            glob, whose central squares become previews in memory (of more than some hundred files,
            build a store: `experiments/isp/build_previews.py`); or "samples", the embedded ones.

    Raises:
        ArgumentError: It stands for no scene. Files that give no preview are named in the log, and
            left out.
    """
    if isinstance(scenes, PreviewSet):
        return scenes
    if isinstance(scenes, PreviewStore):
        return scenes.previews()
    if scenes != SAMPLES and (Path(scenes) / INDEX).exists():
        return PreviewStore.open(Path(scenes)).previews()
    paths = sample_files() if scenes == SAMPLES else [i.path for i in find_inputs([scenes])]
    found = []
    for path in paths:
        try:
            found.append(PreviewSet.of([read_raw(path)], SIDE, square=True))
        except (IspEnvError, ValueError) as error:
            log.warning("left out: %s", error if str(path) in str(error) else f"{path}: {error}")
    if not found:
        raise ArgumentError(f"scenes: no RAW file gives a preview in {str(scenes)!r}")
    return PreviewSet.joined(found)


def reward_of(reward: Reward, device: str | torch.device = "cpu") -> QualityReward:
    """Return the reward that an argument stands for.

    Args:
        reward: A `QualityReward`; a `ShotJudge`, which gets the usual penalties; a function of
            display RGB (B, 3, H, W) in [0, 1] that gives the score of each picture, (B,), which
            then is the potential, without penalties; or the name of a quality model that a package
            announces as an entry point of "isp_env.judges".
        device: Where a model that is named runs.

    Raises:
        ArgumentError: It is none of these.
    """
    if isinstance(reward, QualityReward):
        return reward
    if isinstance(reward, ShotJudge):  # a network is callable, too
        return QualityReward(reward)
    if not isinstance(reward, str):
        if not callable(reward):
            raise ArgumentError(
                f"reward: expected a QualityReward, a function or a name; got {reward!r}"
            )
        return QualityReward.plain(reward)
    known = {entry.name: entry for entry in entry_points(group=JUDGES)}
    if reward not in known:
        names = ", ".join(sorted(known)) or "none; install the package (pip install -e .)"
        raise ArgumentError(f"reward: no quality model is called {reward!r}; known: {names}")
    return QualityReward(known[reward].load()(device))
