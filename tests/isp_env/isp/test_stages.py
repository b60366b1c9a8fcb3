"""The same six tests for every stage of the ISP (the feature itself: see the files of each)."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from isp_env.color.output_spaces import SPACES
from isp_env.compiled.strips import CHUNK
from isp_env.isp.default import default_pipeline
from isp_env.isp.fused.loops import fuse
from isp_env.isp.guide import Guide
from isp_env.isp.pipeline import IspPipeline
from isp_env.isp.stage import Stage

STAGES = {
    f"{stage.name}, {name}": stage
    for name, space in SPACES.items()
    for stage in default_pipeline(space).stages
    if name == "srgb" or stage.name == "output"
}
EACH = pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)


def inputs(stage: Stage, shape: tuple[int, ...] = (2, 6, 8), dtype=torch.float32, seed: int = 0):
    """Planes, maps and constants of a batch, with the knobs off neutral."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=generator, dtype=dtype)

    planes = tuple(0.05 + 0.9 * rand(*shape) for _ in range(3))
    maps = {name: 0.2 + 0.6 * rand(*shape) for name in stage.maps}
    theta = 1.6 * rand(shape[0], len(stage.parameters)) - 0.8
    values = {p.name: p.to_value(theta[:, i]) for i, p in enumerate(stage.parameters)}
    values |= stage.prepare(values)
    constants = {
        name: v.reshape(-1, *[1] * (len(shape) - 1)).expand(shape[0], *[1] * (len(shape) - 1))
        for name, v in values.items()
    }
    return planes, maps, constants


@EACH
def test_smoke(stage):
    result = stage.apply(*inputs(stage))
    assert len(result) == 3
    for plane in result:
        assert plane.shape == (2, 6, 8)
        assert torch.isfinite(plane).all()


@EACH
def test_exception(stage):
    planes, maps, constants = inputs(stage)
    for missing in stage.maps:
        with pytest.raises(KeyError, match=missing):
            stage.apply(planes, {n: m for n, m in maps.items() if n != missing}, constants)
    if stage.parameters and stage.name != "denoise":  # its knob works on the maps
        with pytest.raises(KeyError):
            stage.apply(planes, maps, {})


@EACH
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (2, 7)])
def test_cardinality(stage, shape):
    planes, maps, constants = inputs(stage, shape)
    batch = stage.apply(planes, maps, constants)
    for row in range(shape[0]):
        one = slice(row, row + 1)
        alone = stage.apply(
            tuple(p[one] for p in planes),
            {n: m[one] for n, m in maps.items()},
            {n: c[one] for n, c in constants.items()},
        )
        for together, single in zip(batch, alone, strict=True):
            assert together.shape == shape
            assert torch.allclose(together[one], single, atol=1e-6)


@EACH
def test_gradcheck(stage):
    planes, maps, constants = inputs(stage, (1, 2, 3), torch.float64)
    names, values = list(maps), list(maps.values())
    keys, numbers = list(constants), [c.clone() for c in constants.values()]

    def apply(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = dict(zip(names, tensors[3 : 3 + len(names)], strict=True))
        knobs = dict(zip(keys, tensors[3 + len(names) :], strict=True))
        return stage.apply(tensors[:3], given, knobs)

    tensors = [t.clone().requires_grad_() for t in (*planes, *values, *numbers)]
    assert torch.autograd.gradcheck(apply, tensors)


COMPILE = """
import torch
from isp_env.isp.default import DEFAULT_PIPELINE as pipeline

planes = tuple(torch.rand(2, 4, 4) for _ in range(3))
maps = {name: torch.rand(2, 4, 4) for name in pipeline.maps}
constants = pipeline.constants(pipeline.values(torch.rand(2, len(pipeline.parameters)) - 0.5))
for stage in pipeline.stages:
    compiled = torch.compile(stage.apply, fullgraph=True, backend="aot_eager")
    found = compiled(planes, maps, constants)
    expected = stage.apply(planes, maps, constants)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected)), stage.name
print("all compiled")
"""


@pytest.mark.slow
def test_compile():
    """In a process of its own: what checks the shapes in tests cannot be traced."""
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True)
    assert done.stdout == "all compiled\n", done.stderr


@EACH
def test_fused(stage, run_fused):
    """Compiled to one loop by this package."""
    planes, maps, constants = inputs(stage, (1, CHUNK))
    names, keys = list(maps), list(constants)

    def apply(planes: list[torch.Tensor], numbers: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        given = dict(zip(names, planes[3:], strict=True))
        return stage.apply(tuple(planes[:3]), given, dict(zip(keys, numbers, strict=True)))

    loop = fuse([apply], 3 + len(names), len(keys))
    numbers = [constants[key].item() for key in keys]
    found = run_fused(loop, [*planes, *maps.values()], numbers, 3)
    expected = torch.cat(stage.apply(planes, maps, constants)).numpy()
    assert found == pytest.approx(expected, abs=3e-6)


@pytest.mark.parametrize("stage", [s for s in STAGES.values() if s.idle_at], ids=lambda s: s.name)
def test_idle(stage):
    """At these values of its knobs a stage leaves pictures alone, and at others it does not."""
    noise = torch.full((2, 3, 2), 1e-2)
    for off in (None, *range(len(stage.parameters))):
        planes, _, _ = inputs(stage, (2, 40, 50))
        knobs = {
            p.name: torch.full((2,), value + 0.1 * (p.high - p.low) * (index == off))
            for index, (p, value) in enumerate(zip(stage.parameters, stage.idle_at, strict=True))
        }
        guide = Guide(planes, torch.full((2, 3, 40, 50), 1e-3), 400.0, 4)
        maps = stage.measure(guide, noise, knobs)
        pipeline = IspPipeline((stage,))
        found = stage.apply(planes, maps, pipeline.constants(knobs))
        change = max((a - b).abs().max().item() for a, b in zip(found, planes, strict=True))
        assert (change > 1e-3) if off is not None else (change < 1e-6)
        assert stage.is_active(knobs).tolist() == [off is not None] * 2


def test_idle_at_a_value_for_each_knob():
    with pytest.raises(ValueError, match=r"color: idle at \(0.0,\); expected 2 values"):
        replace(STAGES["color, srgb"], idle_at=(0.0,))
