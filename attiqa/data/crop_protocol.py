"""How photographs become crops, for scoring and for training: settings of every model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CropProtocol:
    """How a photograph of any size becomes crops whose predictions are averaged.

    Grain and slight blur vanish from a photograph that is made small; its own size shows them, and
    the small one the whole (ReLIQS, CVPR 2026: several scales agree better with people than one).
    The crops that a network is trained on should cover its scales (`CropSettings.short_side`).

    Attributes:
        short_side: Pixels that the short side is resized to (bicubic, antialiased).
        crop: Side of the five square crops: the four corners and the centre.
        further: More short sides that five crops are taken at; 0 is the photograph's own size, or
            the crop's where it is smaller.

    Raises:
        ValueError: A short side is smaller than the crop.
    """

    short_side: int = 340
    crop: int = 320
    further: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.short_side < self.crop:
            raise ValueError(
                f"short_side: expected at least the crop's {self.crop}; found {self.short_side}"
            )
        if any(0 != side < self.crop for side in self.further):
            raise ValueError(
                f"further: expected 0 or at least the crop's {self.crop}; found {self.further}"
            )

    @property
    def short_sides(self) -> tuple[int, ...]:
        """One for each scale that the photograph is seen at."""
        return (self.short_side, *self.further)


@dataclass(frozen=True)
class CropSettings:
    """How crops are drawn.

    Attributes:
        size: Pixels at the side of a crop.
        short_side: Range of the short side that the photograph is resized to before it is cropped.

    Raises:
        ValueError: A crop is smaller than a pixel or larger than the short side, or the range runs
            from high to low.
    """

    size: int = 224
    short_side: tuple[int, int] = (224, 512)

    def __post_init__(self) -> None:
        low, high = self.short_side
        if not 1 <= self.size <= low <= high:
            raise ValueError(
                f"crops: expected 1 <= size <= lowest <= highest short_side; found size "
                f"{self.size} and short_side {low} {high}"
            )


def differing_views(trained: CropSettings, tested: CropProtocol) -> str:
    """Say how a network's training crops differ from those it is tested on; empty where they agree.

    A network does best at the sizes and scales that it was trained on. The photograph's own size
    (0) is not compared.
    """
    low, high = trained.short_side
    sides = [side for side in tested.short_sides if side and not low <= side <= high]
    found = []
    if trained.size != tested.crop:
        found.append(f"crops of {trained.size} pixels in training, {tested.crop} in tests")
    if sides:
        scales = f"{low}" if low == high else f"{low} to {high}"
        found.append(f"a short side of {scales} in training, {', '.join(map(str, sides))} in tests")
    return "; ".join(found)
