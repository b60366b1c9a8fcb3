"""Measure a prior on simulated shots of held-out photographs: what its card and the README tell.

    python experiments/tuning/evaluate_prior.py --photos PHOTOS
    python experiments/tuning/evaluate_prior.py --photos PHOTOS --doubt 0    # not shrunk

Other mishaps than it was trained on are settings (`--shots.mixed-share 0 --shots.flare-share 0`).
Two minutes of one CPU core.
"""

from dataclasses import dataclass, field
from pathlib import Path

from rich import print_json

from agents.learning.prior import simulated_source
from agents.policies import PhotoPolicy, load_agent
from experiments.settings import parsed
from experiments.simulated_scenes import TruthSettings
from experiments.tuning.train_prior import MEASURED, MEASURED_SEED, measure
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.scenes.random_shots import ShotSettings
from isp_env.scenes.truths import read_truths


@dataclass(frozen=True)
class Settings:
    """Measure a prior."""

    photos: Path
    """Folder of clean photographs; those held out by name are shot."""
    prior: str = "prior"
    """The policy: "prior", the embedded one, or the path of its card."""
    doubt: float | None = None
    """Instead of its card's: CIE94 of changes that are shrunk by half; 0 shrinks nothing."""
    shots: ShotSettings = field(default_factory=ShotSettings)
    """Cameras and mishaps."""
    batches: int = MEASURED
    """Of 24 shots."""
    long_side: int = 128
    """Pixels of the shots."""


def main(settings: Settings) -> None:
    """Shoot, ask, print."""
    agent = load_agent(settings.prior, DEFAULT_PIPELINE)
    if not isinstance(agent.policy, PhotoPolicy):
        raise TypeError(f"{settings.prior}: a supervised policy is measured here")
    paths = TruthSettings(settings.photos).paths("held out")
    photos = read_truths(paths, 2 * settings.long_side)
    source = simulated_source(photos, settings.shots, settings.long_side, seed=MEASURED_SEED)
    doubt = agent.card.doubt if settings.doubt is None else settings.doubt
    looks = agent.card.task.horizon
    print_json(data=measure(agent.policy, source, settings.batches, doubt, looks))


if __name__ == "__main__":
    main(parsed(Settings))
