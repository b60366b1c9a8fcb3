"""The five image attributes of ATTIQA and the prompt pairs that describe them to CLIP.

Source: ATTIQA (ACCV 2024), section 3.1 and Table 1.
"""

from types import MappingProxyType
from typing import NamedTuple


class PromptPair(NamedTuple):
    """Antonym prompts: the positive one describes the image that scores high."""

    positive: str
    negative: str


PROMPTS = MappingProxyType(
    {
        "sharpness": PromptPair("Splendid image", "Blurry image"),
        "contrast": PromptPair("Distinct image", "Vague image"),
        "brightness": PromptPair("Sunny image", "Darkened image"),
        "colorfulness": PromptPair("Vibrant image", "Colorless image"),
        "noisiness": PromptPair("Peerless image", "Grainy image"),
    }
)
"""Table 1. As in SPAQ, a high "noisiness" score means a *clean* image."""

ATTRIBUTES = tuple(PROMPTS)
"""The order of the attribute axis wherever a tensor has one."""
