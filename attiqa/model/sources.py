"""Where a model comes from: a name, file, folder or repository as the path of its weights."""

import json
from pathlib import Path
from typing import Any

from attiqa.errors import CheckpointError, did_you_mean
from attiqa.hub import why_unreachable

WEIGHTS = Path(__file__).parent / "weights"

EMBEDDED = "attiqa-mini"
"""Which of the weights in the package is meant by "embedded"."""

HUB = "hf://"


def weight_file(source: str | Path) -> Path:
    """Find the weight file of a model; its card lies beside it.

    Args:
        source: "embedded"; a name in attiqa/model/weights; a `.safetensors` file; a folder
            with one such file; or `hf://owner/repository[@revision]` on the Hugging Face hub.

    Raises:
        CheckpointError: Nothing there, several weight files, or the hub cannot be reached.
    """
    name = EMBEDDED if source == "embedded" else str(source)
    cards = sorted(WEIGHTS.glob("*.json"))
    names = [card.stem for card in cards if json.loads(card.read_text())["kind"] == "QualityNet"]
    if name in names:
        return WEIGHTS / f"{name}.safetensors"
    if name.startswith(HUB):
        return _only_weights_in(fetch(*_repository(name)))
    path = Path(source)
    if path.is_dir():
        return _only_weights_in(path)
    if not path.is_file():
        raise CheckpointError(
            f"{source}: no such model; expected one of {names}, a .safetensors file, a folder that "
            f"holds one, or {HUB}owner/repository[@revision]{did_you_mean(name, names)}"
        )
    return path


def fetch(repository: str, revision: str | None = None, **options: Any) -> Path:
    """Download the weights and cards of a repository, or find them in the hub's cache.

    Args:
        repository: `owner/name`.
        revision: Branch, tag or commit.
        options: More arguments of `huggingface_hub.snapshot_download`.

    Raises:
        CheckpointError: Neither the hub nor its cache has them.
    """
    from huggingface_hub import snapshot_download  # slow to import: not for files that are here
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    patterns = ["*.safetensors", "*.json", "*.onnx"]
    offline = "" if options.get("local_files_only") else why_unreachable()
    if offline:  # the cache alone, at once: the client would ask for minutes
        options["local_files_only"] = True
    try:
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=patterns, **options
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{HUB}{repository}: cannot be fetched: {offline or error}; without a network, copy "
            f"the .safetensors and .json files of https://huggingface.co/{repository}/tree/"
            f"{revision or 'main'} and give their folder"
        ) from error
    return Path(folder)


def _repository(source: str) -> tuple[str, str | None]:
    """Split `hf://owner/name@revision`."""
    repository, _, revision = source.removeprefix(HUB).partition("@")
    return repository, revision or None


def _only_weights_in(folder: Path) -> Path:
    """Find the one weight file of a folder."""
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        found = [file.name for file in files] or "none"
        raise CheckpointError(f"{folder}: expected one .safetensors file; found {found}")
    return files[0]
