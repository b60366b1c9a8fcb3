"""Comparing developments of one shot: how far is each from the photograph that it could be?

Opinions of photographs say little about two developments of one shot, whose subject, sharpness and
composition are the same. This head looks at a development beside a reference of the same shot, a
prior's development or the neutral rendering, through the backbone that scores photographs, and
predicts the colour difference to a good development of it. It is a full-reference comparison whose
reference is the shot, not the truth, as FGResQ (arXiv:2508.14475) compares restorations of one
picture.
"""

from typing import cast

import kornia
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

THUMBNAIL = 8  # pixels; light and colour by place, which pooled features lose
COLORS = 3 * THUMBNAIL**2
LAB = 50.0  # CIELAB units of one unit of `colors`
DROPOUT = 0.5
SMALL = 1e-2  # keeps slopes finite where two colours are equal, and of greys


class DevelopmentHead(nn.Module):
    """From what is seen of a development and of a reference to a colour difference.

    The reference tells which colours a good development would have, area by area: these are
    learned from known truths. How far a development is from them is most of the answer; layers on
    both pictures correct it, for what areas do not show and for how much can be told at all.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        seen = width + COLORS
        self.dropout = nn.Dropout(DROPOUT)
        self.expect = nn.Sequential(
            nn.Linear(seen, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, COLORS)
        )
        self.reference = nn.Sequential(nn.Linear(seen, hidden), nn.GELU())
        self.development = nn.Sequential(nn.Linear(seen, hidden), nn.GELU())
        self.compare = nn.Sequential(
            nn.Linear(2 * hidden + COLORS + THUMBNAIL**2 + 1, hidden),
            nn.GELU(),
            nn.Linear(hidden, 2),
        )
        for last, bias in ((self.expect[-1], 0.0), (self.compare[-1], -2.0)):
            nn.init.zeros_(cast(nn.Linear, last).weight)
            nn.init.constant_(cast(nn.Linear, last).bias, bias)

    def expected(self, reference: Float[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Return the `colors` of a good development, from what is seen of a reference."""
        return reference[:, -COLORS:] + self.expect(self._dropped(reference))

    def forward(
        self, seen: Float[Tensor, "b n"], reference: Float[Tensor, "b n"]
    ) -> Float[Tensor, " b"]:
        """Predict the mean CIEDE2000 to the truth, above 0.

        Args:
            seen: Pooled features and `colors` of developments.
            reference: The same of the references of the same shots.
        """
        found, expected = seen[:, -COLORS:], self.expected(reference)
        areas = area_distances(found, expected)
        mean = areas.mean(1, keepdim=True)
        looked = [
            self.development(self._dropped(seen)),
            self.reference(self._dropped(reference)),
            *(found - expected, areas / LAB, mean / LAB),
        ]
        scale, more = self.compare(torch.cat(looked, dim=1)).unbind(1)
        return 0.7 * mean[:, 0] * torch.exp(0.3 * (scale + 2)) + 10 * functional.softplus(more)

    def _dropped(self, seen: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Drop pooled features while learning: they tell photographs apart, by heart."""
        return torch.cat([self.dropout(seen[:, :-COLORS]), seen[:, -COLORS:]], dim=1)


def area_distances(
    found: Float[Tensor, "b c"], expected: Float[Tensor, "b c"]
) -> Float[Tensor, "b a"]:
    """Return CIE94 (CIE 116-1995, graphic arts) of each area between two `colors`."""
    lab, reference = (x.unflatten(1, (3, -1)) * LAB for x in (found, expected))
    difference = lab - reference
    chroma, tolerated = ((x[:, 1:].square().sum(1) + SMALL).sqrt() for x in (lab, reference))
    of_chroma = (chroma - tolerated).square()
    of_hue = (difference[:, 1:].square().sum(1) - of_chroma).clamp(min=0)
    squared = (
        difference[:, 0].square()
        + of_chroma / (1 + 0.045 * tolerated).square()
        + of_hue / (1 + 0.015 * tolerated).square()
    )
    return (squared + SMALL).sqrt()


def colors(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n"]:
    """Return CIELAB means over 8 x 8 areas of encoded sRGB, divided by `LAB`."""
    small = functional.adaptive_avg_pool2d(images, THUMBNAIL)
    return kornia.color.rgb_to_lab(small.clamp(0, 1)).flatten(1) / LAB
