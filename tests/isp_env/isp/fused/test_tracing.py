"""The fused loop against torch, which it was traced from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from isp_env.compiled import strips
from isp_env.compiled.strips import CHUNK
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.fused import loops
from isp_env.isp.fused.loops import fuse, fused
from isp_env.isp.fused.tracing import source

X = torch.linspace(-2.0, 3.0, 2 * CHUNK)
Y = torch.linspace(3.0, 0.01, 2 * CHUNK)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "kernels"
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(loops, "user_cache_path", lambda *_, **__: folder)


@pytest.fixture
def run(run_fused):
    """Fuses a function and runs it on planes of two chunks: results (q, n)."""

    def fused(function, *planes: torch.Tensor, numbers: tuple[float, ...] = ()) -> np.ndarray:
        loop = fuse([lambda p, n: function(*p, *n)], len(planes), len(numbers))
        results = len(function(*planes, *map(torch.tensor, numbers)))
        return run_fused(loop, planes, numbers, results)

    return fused


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: (x + 2 * y - 0.5 * x * y, 1 - x, -x / y),
        lambda x, y: (y**0.5, y.sqrt(), y**2, x**3),
        lambda x, y: (y ** (1 / 2.4), y**2.4, y ** (1 / 3), y**-1.3),
        lambda x, y: (torch.where(x > y, x, y), torch.where(x <= 0.3, x, 2 * y)),
        lambda x, y: (x.clamp(0, 1), x.clamp(min=0.2), x.clamp(max=0.2), x.abs()),
        lambda x, y: (torch.maximum(x, y), torch.minimum(x, y), torch.copysign(y, x)),
        lambda x, y: (torch.exp2(x), y.reciprocal()),
    ],
    ids=["arithmetic", "roots", "powers", "choices", "bounds", "two", "exponential"],
)
def test_operations(function, run):
    expected = torch.stack(function(X, Y)).numpy()
    assert run(function, X, Y) == pytest.approx(expected, rel=3e-6, abs=3e-6)


def test_numbers_are_taken_and_what_depends_on_them_alone_is_done_once(run):
    def function(x, a, b):
        return (x * (a**2 + b), x + 0.5**b)

    found = run(function, X, numbers=(3.0, 0.25))
    assert found[0] == pytest.approx(X.numpy() * 9.25, rel=1e-6)
    assert found[1] == pytest.approx(X.numpy() + 0.5**0.25, rel=1e-6)
    text = source([lambda p, n: function(*p, *n)], 1, 2)
    assert (
        text.index("power(") < text.index("power(", text.index("def kernel")) < text.index("for i")
    )


def test_bounds_stop_nan(run):
    x = X.clone()
    x[5] = torch.nan
    assert run(lambda x: (x.clamp(0, 1),), x)[0, 5] == 0


def test_what_cannot_be_fused_is_named():
    with pytest.raises(NotImplementedError, match="cumsum"):
        source([lambda p, n: (p[0].cumsum(0),)], 1, 0)
    with pytest.raises(NotImplementedError, match="constant tensor"):
        source([lambda p, n: (p[0] * torch.tensor([[1.0, 2.0, 3.0, 4.0]]),)], 1, 0)


def test_the_kernel_is_kept_in_the_cache():
    first = fuse([lambda p, n: (p[0] * 1.25,)], 1, 0)
    assert fuse([lambda p, n: (p[0] * 1.25,)], 1, 0).kernel is first.kernel
    assert fuse([lambda p, n: (p[0] * 1.5,)], 1, 0).kernel is not first.kernel


def test_a_kernel_is_another_where_the_code_that_it_inlines_is(tmp_path, monkeypatch):
    """numba keeps machine code by the file of the kernel, not by what that calls."""
    first = fuse([lambda p, n: (p[0] * 1.75,)], 1, 0)
    edited = tmp_path / "strips.py"
    edited.write_text(Path(strips.__file__).read_text() + "# edited\n")
    monkeypatch.setattr(strips, "__file__", str(edited))
    assert fuse([lambda p, n: (p[0] * 1.75,)], 1, 0).kernel is not first.kernel


@pytest.mark.parametrize("seed", range(4))
def test_the_whole_pipeline(seed, run_fused):
    generator = torch.Generator().manual_seed(seed)
    pipeline = DEFAULT_PIPELINE
    theta = 2 * torch.rand(1, len(pipeline.parameters), generator=generator) - 1
    constants = pipeline.constants(pipeline.values(theta))
    planes = torch.rand(3 + len(pipeline.maps), CHUNK, generator=generator)
    planes[:3] = 1.4 * planes[:3] - 0.2  # noise below black, highlights above white
    maps = dict(zip(pipeline.maps, planes[3:], strict=True))
    flat = {name: value[0, 0] for name, value in constants.items()}
    expected = torch.stack(pipeline.apply((planes[0], planes[1], planes[2]), maps, flat))
    numbers = [constants[name].item() for name in sorted(constants)]
    found = run_fused(fused(pipeline), planes.unbind(), numbers, 3, len(pipeline.stages))
    assert found == pytest.approx(expected.numpy(), abs=1e-5)
