"""The results of `evaluate_attacks.py` as a table."""

from collections.abc import Mapping
from typing import Any

HEAD = (
    "attack",
    "radius",
    "raised by",
    "lowered by",
    "PSNR, dB",
    "SSIM",
    "SROCC with people, all raised",
    "all lowered",
    "against them",
)


def attack_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Return the photographs as they are, then a row for each attack and radius."""
    rows = [["none", "0", "0", "0", "", "1", *[f"{results['srocc']:.2f}"] * 3]]
    for found in results["attacks"]:
        raised, lowered = found["raised"], found["lowered"]
        rows.append(
            [
                found["attack"],
                f"{found['levels']}/255",
                f"{raised['change']:.3f}",
                f"{-lowered['change']:.3f}",
                f"{(raised['psnr'] + lowered['psnr']) / 2:.1f}",
                f"{(raised['ssim'] + lowered['ssim']) / 2:.3f}",
                f"{raised['srocc']:.2f}",
                f"{lowered['srocc']:.2f}",
                f"{found['against']['srocc']:.2f}",
            ]
        )
    return rows
