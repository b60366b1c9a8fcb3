"""A pipeline's elementwise stages as one compiled loop, made once on a machine.

What is in the cache is found without torch, by the hash of the code that it was made of.
"""

import hashlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float32
from platformdirs import user_cache_path

from isp_env.arrays import Array, to_numpy
from isp_env.compiled import strips
from isp_env.files import atomic_path
from isp_env.isp.guide import Maps
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.stage import Constants, Stage

log = logging.getLogger(__name__)

TRACED_BY = "torch"  # whose version is part of a loop's name

Elementwise = Callable[[list[Array], list[Array]], Sequence[Array]]
"""(planes of one shape, numbers) -> planes, in torch."""

Kernel = Callable[
    [Float32[np.ndarray, "n p"], Float32[np.ndarray, " u"], Bool[np.ndarray, " s"]], None
]
"""(planes, numbers, active): puts the results in place of the first planes. Each row of `planes` is
a chunk: its first plane, its second, ...; then room to work in. Steps that are not active are
skipped."""


@dataclass(frozen=True)
class FusedLoop:
    """A compiled loop.

    Attributes:
        kernel: Computes the results from planes and numbers.
        run: Does so for planes of any number of pixels, (inputs, places, numbers, active, room,
            out): `inputs` (m, n) go to the columns `places` (m,), `room` is a chunk.
        render_rows: Renders rows of a picture by it, with maps and quantisation; None where there
            are fewer than three planes or results.
        columns: How many chunks a row of planes holds: the planes, then room to work in.
    """

    kernel: Kernel
    run: Callable[..., None]
    render_rows: Callable[..., None] | None
    columns: int


def fuse(
    steps: Sequence[Elementwise], planes: int, numbers: int, key: str | None = None
) -> FusedLoop:
    """Compile elementwise functions of torch tensors to one pass over pixels.

    Args:
        steps: Done one after the other; the results of each take the place of the first planes.
            They use only operations of `TEMPLATES`, clamp and powers of positive tensors.
        planes: How many planes each takes.
        numbers: How many numbers each takes.
        key: Changes whenever the functions do: a kernel that is in the cache is then found
            without tracing, which takes seconds.

    Returns:
        The loop, compiled once and kept in the user's cache folder.

    Raises:
        NotImplementedError: A function uses another operation.
    """
    folder = user_cache_path("attiqa", ensure_exists=True)
    text = _source(steps, planes, numbers) if key is None else ""
    inlined = Path(strips.__file__).read_text()  # in the machine code, which numba keeps by `name`
    name = f"kernel_{_digest(inlined + (text or f'{key} {version(TRACED_BY)}'))}"
    if not (folder / f"{name}.py").exists():
        log.warning("compiling a loop over pixels: once on a machine, up to half a minute")
        _write(folder / f"{name}.py", text or _source(steps, planes, numbers))
    module = _import(name, folder / f"{name}.py")
    render_rows = getattr(module, "render_rows", None)
    return FusedLoop(module.kernel, module.run, render_rows, module.COLUMNS)


@cache
def fused(pipeline: IspPipeline) -> FusedLoop | None:
    """Return the elementwise part of a pipeline as one loop over planes, maps and `numbers`.

    Each stage is a step. None where a stage uses an operation that cannot be fused; the log says so
    once.
    """
    names = _numbered(pipeline)

    def step(stage: Stage) -> Elementwise:
        def apply(planes: list[Array], numbers: list[Array]) -> tuple[Array, ...]:
            maps: Maps = dict(zip(pipeline.maps, planes[3:], strict=True))
            constants: Constants = dict(zip(names, numbers, strict=True))
            return stage.apply(tuple(planes[:3]), maps, constants)

        return apply

    steps = [step(stage) for stage in pipeline.stages]
    try:
        return fuse(steps, 3 + len(pipeline.maps), len(names), _key(pipeline))
    except NotImplementedError as error:
        named = ", ".join(stage.name for stage in pipeline.stages)
        log.warning("rendered by torch, which is slower (%s): %s", named, error)
        return None


def numbers(pipeline: IspPipeline, constants: Constants) -> Float32[np.ndarray, "b n"]:
    """Return the constants that the loop of `pipeline` takes, a row for each picture."""
    columns = [to_numpy(constants[name]).reshape(-1) for name in _numbered(pipeline)]
    # rows of any other layout would make numba compile the loop once more
    return np.ascontiguousarray(np.stack(columns, axis=1), np.float32)


@cache
def _numbered(pipeline: IspPipeline) -> Sequence[str]:
    """Return names of constants, sorted: the loop must not depend on the order of the knobs."""
    one = np.zeros((1, len(pipeline.parameters)), np.float32)
    theta = one if pipeline.in_numpy else pipeline.neutral()
    return sorted(pipeline.constants(pipeline.values(theta)))


def _key(pipeline: IspPipeline) -> str | None:
    """Name what a pipeline's loop depends on; None where stages are not this package's."""
    package = Path(__file__).parents[2]
    rooms = [package / "isp", package / "color"]
    sources = [package / "arrays.py", *sorted(p for room in rooms for p in room.rglob("*.py"))]
    functions = [stage.apply for stage in pipeline.stages]
    inner = [f.func if isinstance(f, partial) else f for f in functions]
    if any(not f.__module__.startswith("isp_env.") for f in inner):
        return None
    bound = [f.keywords["space"].name for f in functions if isinstance(f, partial)]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    named = [f"{f.__module__}.{f.__qualname__}" for f in inner]
    return f"{named} {bound} {code.hexdigest()}"


def _source(steps: Sequence[Elementwise], planes: int, numbers: int) -> str:
    from isp_env.isp.fused.tracing import source  # imports torch, which a filled cache does without

    return source(steps, planes, numbers)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def _import(name: str, path: Path) -> ModuleType:
    """Import the source from the cache, where numba keeps its machine code beside it."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
