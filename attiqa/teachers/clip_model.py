"""OpenCLIP models as encoders: loaded without traps, at any image size, with a description.

Sources: Radford et al., ICML 2021 (CLIP); open_clip (model names, weights, normalisation); Touvron
et al., ICML 2021, section 5.3 (position embeddings resized in two dimensions for another size).
"""

import hashlib
import logging
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
from jaxtyping import Float, Int
from open_clip import get_pretrained_cfg
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import download_pretrained_from_hf
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision.transforms.functional import InterpolationMode, center_crop, five_crop, resize

from attiqa.errors import CheckpointError, TeacherError, did_you_mean
from attiqa.hub import why_unreachable
from attiqa.teachers.choices import View

logger = logging.getLogger(__name__)

ClipModel = open_clip.CLIP | open_clip.CustomTextCLIP | open_clip.CoCa

_POSITIONS = ("positional_embedding", "attnpool.positional_embedding", "trunk.pos_embed")
"""The parameter that holds them in OpenCLIP's own ViT, its ResNet and timm's ViT (SigLIP)."""

HUB = "hf-hub:"
"""Before the name of a repository of the Hugging Face hub that holds a model of open_clip."""

WEIGHT_NAMES = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
"""Names of the weights in a repository of open_clip; the first is the better."""

_LOADING_ERRORS = (
    *(OSError, RuntimeError, ValueError, KeyError, AttributeError, EOFError),
    *(SafetensorError, pickle.UnpicklingError),
)
"""What open_clip raises on a file or download that is not what it should be."""


def load_clip(
    architecture: str, pretrained: str | Path | None, seed: int
) -> tuple[ClipModel, dict[str, Any]]:
    """Load an OpenCLIP model in float32, frozen, and say what it is.

    Args:
        architecture: A model name of open_clip, or `hf-hub:owner/repository`.
        pretrained: An open_clip tag (fetched from the hub), a local weight file, or None for random
            weights. A repository has its own weights: this is not used then.
        seed: Of the random weights.

    Returns:
        The model and its description: architecture, activation, weights (tag, SHA-256 of the file,
        or seed), mean and std of the normalisation. A file or random weights carry no
        normalisation: it is then that of the architecture's published weights.

    Raises:
        TeacherError: The name or tag is unknown, the weights cannot be fetched, or were trained
            with another activation than the architecture has.
        CheckpointError: The weight file cannot be read or does not fit.
    """
    if architecture.startswith(HUB):
        return _load_from_hub(architecture)
    config = open_clip.get_model_config(architecture) if ":" not in architecture else None
    if config is None:
        raise TeacherError(
            f"{architecture!r} is neither a model name of open_clip.list_models() nor {HUB}..."
            + did_you_mean(architecture, open_clip.list_models())
        )
    quick_gelu = bool(config.get("quick_gelu", False))
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    is_tag = isinstance(pretrained, str) and pretrained in tags
    if is_tag:
        weights = f"tag {pretrained}"
        published = get_pretrained_cfg(architecture, str(pretrained))
        if bool(published.get("quick_gelu")) != quick_gelu:
            activation = "QuickGELU" if quick_gelu else "GELU"
            raise TeacherError(
                f"{architecture} computes {activation}, but {pretrained!r} was not trained with "
                f"it: its features would be wrong. Use {_sibling(architecture)}"
            )
        repository, _, file = str(published.get("hf_hub", "")).rpartition("/")
        if repository:
            files = (file,) if file else WEIGHT_NAMES
            advice = (
                f"download https://huggingface.co/{repository}/resolve/main/{files[0]}, copy it "
                "here and give it by --clip-weights FILE"
            )
            _require_within_reach(f"{architecture}, {pretrained}", repository, files, advice)
    elif pretrained is None:
        weights = f"random, seed {seed}"
    elif Path(pretrained).is_file():
        weights = f"sha256 {_file_hash(Path(pretrained))}"
        if _sibling(architecture) in open_clip.list_models():
            logger.warning(
                "%s: a file does not say its activation; %s computes %s, %s the other one",
                *(pretrained, architecture, "QuickGELU" if quick_gelu else "GELU"),
                _sibling(architecture),
            )
    else:
        raise TeacherError(
            f"{pretrained!r} is no tag of {architecture} ({', '.join(tags)}) and no file"
            + did_you_mean(str(pretrained), tags)
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            tag_or_file = None if pretrained is None else str(pretrained)
            model = open_clip.create_model(architecture, pretrained=tag_or_file)
        except _LOADING_ERRORS as error:
            kind = TeacherError if is_tag or pretrained is None else CheckpointError
            raise kind(f"{architecture}: cannot load {pretrained}: {error}") from error
    mean, std = _normalisation(architecture, [str(pretrained)] if is_tag else tags)
    return _frozen(model), _description(architecture, quick_gelu, weights, mean, std)


def _load_from_hub(architecture: str) -> tuple[ClipModel, dict[str, Any]]:
    """Load what a repository of the hub holds: configuration, weights and normalisation."""
    repository = architecture.removeprefix(HUB)
    advice = f"run `hf download {repository}`, and copy the cache that it writes to here"
    _require_within_reach(architecture, repository, WEIGHT_NAMES, advice)
    try:
        config = cast(dict[str, Any], open_clip.get_model_config(architecture))
        file = download_pretrained_from_hf(architecture.removeprefix(HUB))
        model = open_clip.create_model(architecture, require_pretrained=True)
    except _LOADING_ERRORS as error:
        raise TeacherError(f"{architecture}: cannot be loaded: {error}") from error
    shown = cast(Any, model.visual).preprocess_cfg
    weights = f"sha256 {_file_hash(Path(file))}"
    mean, std = list(shown["mean"]), list(shown["std"])
    quick_gelu = bool(config.get("quick_gelu", False))
    return _frozen(model), _description(architecture, quick_gelu, weights, mean, std)


def _require_within_reach(name: str, repository: str, files: Sequence[str], advice: str) -> None:
    """Refuse a download where neither the hub's cache nor the hub can be reached.

    Args:
        name: Of what is to be loaded.
        repository: `owner/name` on the hub.
        files: Any of them holds the weights.
        advice: What to do without a network.

    Raises:
        TeacherError: They cannot be had.
    """
    if any(isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        return
    if why := why_unreachable():
        raise TeacherError(
            f"{name}: its weights are not on this machine, and the hub cannot be reached ({why}). "
            f"Where there is a network, {advice}"
        )


def _frozen(model: nn.Module) -> ClipModel:
    return cast(ClipModel, model.float().eval().requires_grad_(False))


def _description(
    architecture: str, quick_gelu: bool, weights: str, mean: list[float], std: list[float]
) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "quick_gelu": quick_gelu,
        "weights": weights,
        "mean": mean,
        "std": std,
        "open_clip": open_clip.__version__,
    }


def load_tokenizer(architecture: str) -> Callable[[list[str]], Int[Tensor, "n length"]]:
    """Load what turns texts into the tokens of a model, at its context length.

    Raises:
        TeacherError: It cannot be had: SigLIP's comes from the hub and needs `transformers`.
    """
    try:
        return open_clip.get_tokenizer(architecture)
    except (ImportError, *_LOADING_ERRORS) as error:
        raise TeacherError(f"{architecture}: cannot load its tokenizer: {error}") from error


def cut_views(
    images: Float[Tensor, "b 3 h w"], view: View, side: int, patch: int
) -> Float[Tensor, "v b 3 hv wv"]:
    """Resize and crop photographs to the one or five pictures that are encoded (see `View`)."""
    height, width = images.shape[2:]
    if view == "native5":
        if min(height, width) < side:
            images = _resize(images, [side])
        return torch.stack(five_crop(images, [side, side]))
    if view == "center":
        return center_crop(_resize(images, [side]), [side, side])[None]
    scale = side / min(height, width)
    return _resize(images, [max(patch, round(n * scale / patch) * patch) for n in (height, width)])[
        None
    ]


def encode_views(model: ClipModel, views: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
    """Encode normalised pictures of any size that is a multiple of the patch.

    The model's own position embeddings stay as they are; another size computes with resized ones.
    A timm tower without any computes as it is: `check_size` says whether it can.

    Raises:
        TeacherError: The model cannot compute at this size.
    """
    native = image_side(model)
    visual = cast(nn.Module, model.visual)
    trunk = getattr(visual, "trunk", None)
    if views.shape[2:] == (native, native) or getattr(trunk, "dynamic_img_size", False):
        return model.encode_image(views)
    parameters = dict(visual.named_parameters())
    name = next((name for name in _POSITIONS if name in parameters), None)
    if name is None and trunk is not None:
        return model.encode_image(views)
    if name is None or getattr(visual, "output_tokens", False):
        raise TeacherError(
            f"this image tower computes only at {native} x {native}; got {tuple(views.shape[2:])}"
        )
    patch = patch_side(model)
    grid = (views.shape[2] // patch, views.shape[3] // patch)
    positions = resize_positions(parameters[name], native // patch, grid)
    if hasattr(trunk, "patch_embed"):  # refuses another size than that of its configuration
        cast(Any, trunk).patch_embed.strict_img_size = False
    return torch.func.functional_call(visual, {name: positions}, (views,))


@torch.no_grad()
def check_size(model: ClipModel, height: int, width: int) -> None:
    """Encode an empty picture of another size than the model's own, to see whether it can.

    Towers of fixed windows, or with rotary or relative positions, refuse it in many ways.

    Raises:
        TeacherError: The model cannot compute at this size.
    """
    native = image_side(model)
    if (height, width) == (native, native):
        return
    picture = torch.zeros(1, 3, height, width, device=next(model.parameters()).device)
    try:
        encode_views(model, picture)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise TeacherError(
            f"side: this image tower computes only at its own, {native} x {native}; "
            f"at {height} x {width}: {error}"
        ) from error


def resize_positions(
    positions: Float[Tensor, "*one n d"], side: int, grid: tuple[int, int]
) -> Float[Tensor, "*one m d"]:
    """Resize the position embeddings of a square of patches to another grid (bicubic).

    The embedding is a picture of `side` x `side` with d channels. Tokens before it (the class
    token) have no place in the picture and stay as they are.
    """
    prefix = positions.shape[-2] - side**2
    tokens, square = positions[..., :prefix, :], positions[..., prefix:, :]
    picture = square.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, d, side, side)
    picture = F.interpolate(picture, grid, mode="bicubic", antialias=True, align_corners=False)
    rows = picture.flatten(2).mT.reshape(*positions.shape[:-2], grid[0] * grid[1], -1)
    return torch.cat([tokens, rows], dim=-2)


def image_side(model: ClipModel) -> int:
    """Return the side in pixels of the square pictures that the model was trained on."""
    size = cast(int | tuple[int, int], model.visual.image_size)
    return size if isinstance(size, int) else size[0]


def patch_side(model: ClipModel) -> int:
    """Pixels per step of the last feature map: the patch of a ViT, the stride of other towers."""
    visual = cast(Any, model.visual)
    if hasattr(visual, "attnpool"):
        return 32  # the total stride of the ResNets
    if hasattr(visual, "trunk"):
        return visual.trunk.feature_info[-1]["reduction"]
    return visual.patch_size[0]


def _resize(images: Tensor, size: list[int]) -> Tensor:
    return resize(images, size, InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)


def _sibling(architecture: str) -> str:
    """Name of the same architecture with the other activation."""
    suffix = "-quickgelu"
    return architecture.removesuffix(suffix) if suffix in architecture else architecture + suffix


def _normalisation(architecture: str, tags: list[str]) -> tuple[list[float], list[float]]:
    """Mean and std of published weights; OpenAI's where there are none or where they disagree."""
    published = {
        (tuple(config["mean"]), tuple(config["std"]))
        for config in (get_pretrained_cfg(architecture, tag) for tag in tags)
        if config.get("mean")
    }
    if len(published) != 1:
        logger.warning("%s: normalised as OpenAI's CLIP; its weights do not say", architecture)
        published = {(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)}
    mean, std = published.pop()
    return list(mean), list(std)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
