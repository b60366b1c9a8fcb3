"""Settings of trainings: how long and how fast, and by which losses."""

from dataclasses import dataclass, field
from typing import Literal

from attiqa.data.crop_protocol import CropSettings
from attiqa.errors import SettingsError

PreferenceLoss = Literal["thurstone", "bradley-terry", "fidelity"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train: AdamW, 5 % warm-up, cosine decay to zero."""

    epochs: int = 10
    """Passes over the photographs."""
    batch_size: int = 32
    """Photographs per process and micro-batch; pairs are formed across processes."""
    accumulate: int = 1
    """Micro-batches per step, their gradients averaged; pairs are formed within each."""
    backbone_lr: float = 1e-4
    """Peak learning rate of the backbone (of its last layer, where `layer_decay` is below 1)."""
    head_lr: float = 1e-3
    """Peak learning rate of all other layers."""
    layer_decay: float = 1.0
    """Each layer of the backbone learns at this share of the next one's rate."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights, which is then the result; 0 for none."""
    freeze_batch_statistics: bool = False
    """Keep BatchNorm's statistics: for small batches, or batches with distorted views."""
    crops: CropSettings = field(default_factory=CropSettings)
    """The crops that are trained on."""
    workers: int = 2
    """Processes that decode and crop."""
    checkpoint_steps: int = 500
    """Steps between checkpoints within an epoch; there is one at its end, too."""
    seed: int = 0
    """Fixes the order, the crops and the distortions."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name}: expected 1 or more; found {getattr(self, name)}")
        for name in ("backbone_lr", "head_lr", "workers", "weight_decay", "checkpoint_steps"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name}: expected 0 or more; found {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise SettingsError(f"ema_decay: expected [0, 1); found {self.ema_decay}")

    def step_photographs(self, processes: int = 1) -> int:
        """Count the photographs of a step."""
        return self.batch_size * processes * self.accumulate

    def epoch_steps(self, photographs: int, processes: int = 1) -> int:
        """Count the steps of an epoch; photographs that do not fill the last one wait their turn.

        Raises:
            SettingsError: There are fewer photographs than a step takes.
        """
        taken = self.step_photographs(processes)
        if photographs < taken:
            fits = photographs // (processes * self.accumulate)
            lower = f"lower schedule.batch_size to {fits} or less, or " if fits > 1 else ""
            raise SettingsError(
                f"batch_size: a step takes {taken} photographs (batch_size {self.batch_size} x "
                f"processes {processes} x accumulate {self.accumulate}), and there are "
                f"{photographs} to train on; {lower}give more photographs"
            )
        return photographs // taken


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of the pretraining."""

    schedule: Schedule = field(default_factory=Schedule)
    """Length, speed and crops."""
    loss: Literal["ranking", "standardised", "eq2"] = "ranking"
    """Eq. 4, or for the ablation L2 to labels of unit deviation or to the scores of Eq. 2."""
    margin: float = 0.1
    """Margin of Eq. 4, and of the ranking of ladder levels."""
    confidence: bool = False
    """Weight the pairs of Eq. 4 by how far apart their labels lie; false is the paper."""
    distorted: float = 0.5
    """Share of crops that a random distortion is applied to before the teacher sees them."""
    ladder_weight: float = 0.0
    """Weight of ranking two levels of a ladder by the attribute that it moves; 0 is the paper."""
    ladder_share: float = 0.25
    """Share of a batch that such pairs are made of."""

    @classmethod
    def paper(cls) -> "PretrainSettings":
        """Return Eq. 3-4 on whole photographs' labels, margin 0.1; crops and flips only.

        The paper does not state the rest: AdamW at 1e-4 (heads 1e-3), weight decay 0.01, one cycle
        of ten epochs, batches of 256, crops of 224 at a short side of 256 to 340.
        """
        return cls(
            Schedule(epochs=10, batch_size=256, crops=CropSettings(224, (256, 340))), distorted=0.0
        )


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of the fine-tuning."""

    schedule: Schedule = field(default_factory=Schedule)
    """Length, speed and crops."""
    dropout: float = 0.0
    """Share of the heads' features that the regressor does not get to see in a step."""
    lora_rank: int = 0
    """Rank of the additions by which alone a transformer's linear layers learn (LoRA); 0 lets the
    whole backbone learn. LoRA's authors learn at 1e-4 to 5e-4: see `backbone_lr`."""
    lora_alpha: float = 16.0
    """LoRA's addition to a weight is multiplied by alpha / rank."""
    plcc_weight: float = 0.1
    """Weight of 1 - PLCC beside the squared error."""
    quantile_weight: float = 0.0
    """Weight of the squared error of the MOS's quantiles (of `losses.empirical_cdf`) beside that of
    the MOS, and of a scorer's likewise; 0 is the paper."""
    norm_in_norm_weight: float = 0.0
    """Weight of the norm-in-norm loss (LinearityIQA) beside the squared error; 0 is the paper."""
    rank_weight: float = 0.0
    """Weight of a margin ranking of the scores by MOS, over all pairs of the batch."""
    rank_margin: float = 0.25
    """Margin of that ranking, in standard deviations of the MOS."""
    fidelity_weight: float = 0.0
    """Weight of the fidelity loss over all pairs of a data set in the batch, by the means and the
    deviations of opinions (UNIQUE); 0 is the paper."""
    opinion_deviation: float = 0.15
    """Standard deviation of the opinions about a photograph, as a share of the scale, where a data
    set does not tell it; KonIQ-10k's mean is 0.144, AGIQA-3k's 0.12."""
    preference_weight: float = 1.0
    """Weight of the loss of preferences between two photographs, where there are any."""
    preference_loss: PreferenceLoss = "thurstone"
    """Cross-entropy under Thurstone's model of preferences, or under Bradley and Terry's, or the
    fidelity loss under Thurstone's."""
    attribute_weight: float = 0.0
    """Weight of the ranking loss against the teacher; 0 is the paper."""
    attribute_margin: float = 0.1
    """Margin of that loss, and of the ranking of ladder levels."""
    ladder_weight: float = 0.0
    """Weight of ranking two levels of a ladder by the attribute that it moves; 0 is the paper."""
    ladder_share: float = 0.25
    """Share of a batch that such pairs are made of."""
    ranked_distortions_weight: float = 0.0
    """Weight of the ranking of good photographs above their distorted versions; 0 is the paper."""
    ranked_distortions_margin: float = 0.03
    """Score that each step up a ladder has to cost."""
    good_quantile: float = 0.5
    """Photographs of a MOS above this quantile count as good."""
    distorted_photos: int = 8
    """At most so many good photographs of a micro-batch are distorted."""
    distillation_weight: float = 0.0
    """Weight of the squared difference from another model's score of each view of a photograph, not
    of its distorted versions, of which the other model may know nothing; 0 is the paper."""

    def __post_init__(self) -> None:
        if self.opinion_deviation <= 0:
            raise ValueError(
                f"opinion_deviation: expected a positive number, found {self.opinion_deviation}"
            )

    @classmethod
    def paper(cls) -> "FinetuneSettings":
        """Return the paper's protocol: short side 340, random crops of 320, flips, 100 epochs.

        The paper does not state the rest: squared error of the MOS, AdamW at 5e-5 (regressor and
        heads 5e-4), weight decay 0.01, one cycle, batches of 32. Tested with five crops.
        """
        schedule = Schedule(
            epochs=100,
            batch_size=32,
            backbone_lr=5e-5,
            head_lr=5e-4,
            crops=CropSettings(320, (340, 340)),
        )
        return cls(schedule, plcc_weight=0.0)
