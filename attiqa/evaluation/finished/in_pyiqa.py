"""No-reference metrics of pyiqa (pip install 'attiqa[pyiqa]') as models: `pyiqa:dbcnn`.

Source: Chen and Mo, IQA-PyTorch: PyTorch toolbox for image quality assessment, 2022. pyiqa is under
the PolyForm Noncommercial licence and fetches the weights of each metric when it is made; nothing
of it is imported before a metric is asked for.
"""

import contextlib
import logging
import re
import socket
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from jaxtyping import Float

from attiqa.errors import AttiqaError, CheckpointError
from attiqa.evaluation.finished.sources import PYIQA, metric_config
from attiqa.hub import PATIENCE, why_unreachable
from attiqa.model.inputs import to_tensor
from attiqa.provenance.identity import network_hash

logger = logging.getLogger(__name__)

WANTED = ("url", "cached_file", "download_target")
"""What PyTorch, pyiqa and CLIP call, where they fetch it, an address and the file to save it as."""

SEED = 0
"""Before each photograph: some metrics look at random crops."""

DATASETS = MappingProxyType(
    {
        "koniq": "KonIQ-10k",
        "koniq10k": "KonIQ-10k",
        "spaq": "SPAQ",
        "ava": "AVA",
        "flive": "FLIVE",
        "paq2piq": "FLIVE",
        "kadid": "KADID-10k",
        "tid": "TID2013",
        "clive": "CLIVE",
    }
)
"""What pyiqa's configurations call the data sets that our readers know."""

NAMING = ("pretrained", "train_dataset", "regressor_dataset", "model_name", "model_type")
"""Options of pyiqa's networks in which a data set may be named."""

OPINION_UNAWARE = ("Entropy", "ILNIQE", "NIQE", "PIQE")
"""Networks of pyiqa that have learnt from no opinion scores."""


class PyiqaMetric:
    """A metric of pyiqa on whole photographs, with its own preprocessing; higher is better.

    Args:
        source: `pyiqa:NAME`.
        device: Where it runs.
        options: Arguments of pyiqa's network in place of its configuration, such as
            `{"pretrained_model_path": "niqe_modelparameters.mat"}`; `{"pretrained": None}` makes
            random weights, for tests, of a network that knows this option.

    Raises:
        CheckpointError: pyiqa is not installed, has no such metric, or cannot have its weights.
    """

    def __init__(
        self,
        source: str,
        device: str | torch.device = "cpu",
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.source, self.config = source, metric_config(source)
        self.device, self.options = torch.device(device), dict(options)
        self._metric = _create(source, self.device, options)
        self._sign = -1.0 if self._metric.lower_better else 1.0

    @property
    def trained_on(self) -> str:
        """Whose opinion scores pyiqa's weights were trained on, as far as its list says."""
        options = self.config["metric_opts"]
        if options["type"] in OPINION_UNAWARE:
            return "opinion-unaware"
        said = " ".join(str(options.get(name, "")) for name in NAMING)
        words = re.findall(r"[a-z0-9]+", said.replace("_", " "))
        return next((DATASETS[word] for word in words if word in DATASETS), "unknown")

    @property
    def record(self) -> dict[str, Any]:
        """All that a score depends on, ready for JSON."""
        return {
            "pyiqa": version("pyiqa"),
            "metric": self.source.removeprefix(PYIQA),
            "lower_better": self._sign < 0,
            "options": {name: str(value) for name, value in self.options.items()},
            "weights": network_hash(self._metric),
            "seed": SEED,
        }

    def __call__(self, paths: Sequence[Path]) -> Float[np.ndarray, " n"]:
        """Score image files one after the other.

        Raises:
            AttiqaError: A file cannot be read, or the metric fails on it.
        """
        return np.array([self._score(path) for path in paths])

    def _score(self, path: Path) -> float:
        photo = to_tensor(path)[None]  # (1, 3, h, w)
        try:
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                torch.manual_seed(SEED)
                found = torch.as_tensor(self._metric(photo)).flatten()
        except (AssertionError, RuntimeError, ValueError, IndexError) as error:
            raise AttiqaError(
                f"{self.source}: cannot score {path}, {tuple(photo.shape[2:])} pixels: {error}"
            ) from error
        if len(found) != 1 or not torch.isfinite(found).all():
            raise AttiqaError(f"{self.source}: expected one score for {path}; found {found}")
        return self._sign * found.item()


def _create(source: str, device: torch.device, options: Mapping[str, Any]) -> Any:
    """Let pyiqa make a metric and fetch its weights, or say which file is missing and where."""
    create = import_module("pyiqa").create_metric
    name = source.removeprefix(PYIQA)
    try:
        with _impatient():
            return create(name, device=device, **options)
    except Exception as error:  # of any of its networks and the libraries that they come from
        wanted = _failed_download(error)
        raise CheckpointError(
            f"{source}: cannot be made: {type(error).__name__}: {error}"
            + (f"; without a network, fetch {wanted}" if wanted else "")
        ) from error


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Give up in seconds where there is no network: the hub's client alone would try for a minute.

    What was fetched before is found in the caches all the same.
    """
    from huggingface_hub import constants

    offline, timeout = constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    if why := why_unreachable():
        logger.info("%s; what is in its cache is used", why)
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        socket.setdefaulttimeout(timeout)


def _failed_download(error: BaseException | None) -> str | None:
    """Find what a failed download wanted: the errors hide it in their frames and causes."""
    while error is not None:
        seen = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
        known = {
            name: names[name]
            for names in seen
            for name in WANTED
            if isinstance(names.get(name), str)
        }
        said = re.search(r"https?://[^\s'\"]+[^\s'\":,.]", f"{error}")
        url = known.pop("url", said and said[0])
        if url and known:
            return f"{url} and save it as {next(iter(known.values()))}"
        if url:  # the hub's own cache, which its own command fills
            return f"{url}: hf download {'/'.join(urlsplit(url).path.split('/')[1:3])}"
        error = error.__cause__ or error.__context__
    return None
