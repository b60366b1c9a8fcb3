"""Which CLIP model labels, or is asked about prompts: the same options for every command."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipEncoder:
    """A CLIP model of open_clip and its weights."""

    clip: str = "ViT-B-16-quickgelu"
    """CLIP: a model name of open_clip, or hf-hub:owner/repository."""
    clip_weights: str | None = "openai"
    """CLIP: a tag of open_clip, which is downloaded once, or a local weight file; None for random
    weights."""
