"""One fused pass out of many elementwise torch operations: full frames on a CPU, fast.

Run eagerly, every operation of a stage writes a whole plane to memory and reads it back. Here the
pipeline's elementwise part is traced once (`make_fx`), written out as loops over a few hundred
pixels that stay in the cache (`loop_segments`), and compiled by numba, whose LLVM vectorises them.
There is one mathematics, in torch, for gradients and GPUs; this is the same, faster. A test holds
both together to 1e-5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from isp_env.compiled.strips import CHUNK
from isp_env.isp.fused.loop_segments import Segment, Statement, cut

Elementwise = Callable[[list[Tensor], list[Tensor]], Sequence[Tensor]]
"""(planes of one shape, numbers) -> planes."""

POWER_COST = 30
"""Instructions of a power, about."""

TEMPLATES = {
    "add.Tensor": "{0} + {1}",
    "add.Scalar": "{0} + {1}",
    "sub.Tensor": "{0} - {1}",
    "rsub.Scalar": "{1} - {0}",
    "mul.Tensor": "{0} * {1}",
    "div.Tensor": "{0} / {1}",
    "neg.default": "-{0}",
    "abs.default": "abs({0})",
    "sqrt.default": "sqrt({0})",
    "reciprocal.default": "ONE / {0}",
    "exp2.default": "exp2({0})",
    "pow.Scalar": "power({0}, {1})",
    "gt.Scalar": "{0} > {1}",
    "gt.Tensor": "{0} > {1}",
    "ge.Scalar": "{0} >= {1}",
    "lt.Scalar": "{0} < {1}",
    "lt.Tensor": "{0} < {1}",
    "le.Scalar": "{0} <= {1}",
    "where.self": "{1} if {0} else {2}",
    "maximum.default": "{0} if {0} > {1} else {1}",
    "minimum.default": "{0} if {0} < {1} else {1}",
    "copysign.Tensor": "copysign({0}, {1})",
}

HEADER = '''"""Made by isp_env.isp.fused.tracing; may be deleted."""

import math

import numba
import numpy as np

from isp_env.compiled import strips

F, I = np.float32, np.int32
ONE, TWO, HALF = F(1), F(2), F(0.5)
MANTISSA, EXPONENT_OF_ONE, BIAS = I(0x007FFFFF), I(0x3F800000), I(127)
SHIFT, OFFSET = I(23), I(0x3F3504F3)  # bits of sqrt(1/2)
L1, L3, L5 = F(2.8853913), F(0.96147077), F(0.59897507)
E1, E2, E3, E4, E5 = F(0.693147), F(0.24022242), F(0.055507338), F(0.0096715166), F(0.0013264737)
LOWEST, HIGHEST, ROUND = F(-126), F(127), F(127.5)
FAST = {"contract", "arcp", "nsz", "reassoc"}
inline = numba.njit(fastmath=FAST, error_model="numpy", inline="always")


@inline
def sqrt(x):
    return F(math.sqrt(x))


@inline
def copysign(x, y):
    return abs(x) if y >= F(0) else -abs(x)


@inline
def log2(x):
    """log2 of x > 0 by an odd minimax polynomial on [sqrt(1/2), sqrt(2)]; within 2e-7."""
    bits = F(x).view(I)
    exponent = I(I(bits - OFFSET) >> SHIFT)
    m = I(bits - I(exponent << SHIFT)).view(F)
    s = (m - ONE) / (m + ONE)
    z = s * s
    return F(exponent) + s * (L1 + z * (L3 + z * L5))


@inline
def exp2(x):
    """2^x by a minimax polynomial on [-1/2, 1/2]; within 2e-7 of it, exact at 0."""
    x = LOWEST if x < LOWEST else (HIGHEST if x > HIGHEST else x)
    whole = F(I(x + ROUND)) - F(BIAS)  # rounding of a positive number
    f = x - whole
    part = ONE + f * (E1 + f * (E2 + f * (E3 + f * (E4 + f * E5))))
    return part * I(I(I(whole) + BIAS) << SHIFT).view(F)


@inline
def power(x, p):
    """x^p of x > 0; a normal number."""
    return exp2(p * log2(x))


@inline
def exact_power(x, p):
    """x^p of x > 0 to the last bit, slowly."""
    return F(math.pow(x, p))


'''


def source(steps: Sequence[Elementwise], planes: int, numbers: int) -> str:
    """Write the Python source of the loop (see `loops.fuse`)."""
    constants: dict[float, str] = {}
    traced = [_trace(step, planes, numbers, f"v{k}_", constants) for k, step in enumerate(steps)]
    parts = [cut(step.statements, step.results) for step in traced]
    first = max(planes, *(len(step.results) for step in traced))  # column to keep values in
    slots = [slot for part in parts for segment in part for slot in segment.keeps.values()]
    lines = [f"{name} = F({value!r})" for value, name in constants.items()]
    lines += [f"COLUMNS = {first + max(slots, default=-1) + 1}"]
    lines += ["", "", '@numba.njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)']
    lines += ["def kernel(planes, numbers, active):"]
    once = dict.fromkeys(line for step in traced for line in step.once)
    lines += [f"    {line}" for line in once]
    lines += ["    for chunk in range(len(planes)):"]
    for number, (step, part) in enumerate(zip(traced, parts, strict=True)):
        lines += [f"        if active[{number}]:"]
        for segment in part:
            results = step.results if segment is part[-1] else []
            lines += [f"            for i in range({CHUNK}):"]
            lines += [f"                {line}" for line in _body(segment, planes, first, results)]
    lines += RUN
    lines += RENDER_ROWS if planes >= 3 and len(traced[-1].results) == 3 else []
    return HEADER + "\n".join(lines) + "\n"


def _body(segment: Segment, planes: int, first: int, results: Sequence[str]) -> list[str]:
    """Return the lines of one loop: fetch, compute, keep for later ones."""
    needed = {name for s in segment.statements for name in s.operands} | set(results)
    columns = {f"p{index}": index for index in range(planes)}
    columns |= {name: first + slot for name, slot in segment.reads.items()}
    lines = [
        f"{name} = planes[chunk, i + {column * CHUNK}]"
        for name, column in columns.items()
        if name in needed
    ]
    lines += [f"{s.name} = {s.expression}" for s in segment.statements]
    kept = {first + slot: name for name, slot in segment.keeps.items()}
    kept |= dict(enumerate(results))
    return lines + [f"planes[chunk, i + {c * CHUNK}] = {name}" for c, name in kept.items()]


RUN = f"""

@numba.njit(nogil=True, cache=True)
def run(inputs, places, numbers, active, room, out):
    for start in range(0, inputs.shape[1], {CHUNK}):
        strips.lay(inputs, places, start, room)
        kernel(room, numbers, active)
        strips.take(room, start, out)
""".splitlines()
"""Planes in memory, (m, n); a chunk of them stays in the fastest cache."""

RENDER_ROWS = f"""

@numba.njit(nogil=True, cache=True)
def render_rows(linear, maps, places, lines, columns, numbers, active, room, pixels):
    wide, held, planes, levels = room
    for row in range(linear.shape[1]):
        strips.widen_two(maps, lines[0][row], lines[1][row], columns, wide, held)
        for start in range(0, linear.shape[2], {CHUNK}):
            strips.gather(linear, row, start, wide, places, lines[2][row], planes)
            kernel(planes, numbers, active)
            strips.scatter(planes, row, start, levels, pixels)
""".splitlines()
"""A picture of three planes, row by row; a chunk of it stays in the fastest cache."""


@dataclass(frozen=True)
class _Traced:
    """A function's operations: those on numbers alone, done once, and those on planes."""

    once: list[str]
    statements: list[Statement]
    results: list[str]


def _trace(
    function: Elementwise, planes: int, numbers: int, prefix: str, constants: dict[float, str]
) -> _Traced:
    """Follow a function through torch: planes are p0, p1, ..., numbers u0, u1, ...

    Names of what it computes begin with `prefix`; `constants` gets those that are new.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # slow to import, and seldom needed

    examples = [torch.full((1, 4), 0.5) for _ in range(planes)]
    uniforms = [torch.full((1, 1), 0.5) for _ in range(numbers)]
    try:
        graph = make_fx(lambda x, u: tuple(function(x, u)))(examples, uniforms).graph
    except Exception as error:  # whatever somebody's stage does with planes of one row
        raise NotImplementedError(f"cannot trace: {error}") from error
    traced = _Traced([], [], [])
    names: dict[fx.Node, str] = {}
    known: dict[str, str] = {}  # expression: the name that it has already
    uniform: set[str] = set()

    def operand(value: Any) -> str:
        if isinstance(value, fx.Node):
            return names[value]
        return constants.setdefault(float(value), f"C{len(constants)}")

    inputs = iter([f"p{i}" for i in range(planes)] + [f"u{i}" for i in range(numbers)])
    for node in graph.nodes:
        if node.op == "placeholder":
            name = names[node] = next(inputs)
            if name.startswith("u") and node.users:
                traced.once.append(f"{name} = numbers[{name[1:]}]")
                uniform.add(name)
        elif node.op == "call_function":
            expression = _expression(node, operand)
            if expression in known:
                names[node] = known[expression]
                continue
            name = names[node] = known[expression] = f"{prefix}{len(names)}"
            operands = tuple(names[n] for n in node.all_input_nodes)
            if uniform.issuperset(operands):
                uniform.add(name)
                exact = expression.replace("power(", "exact_power(")  # once: speed does not matter
                traced.once.append(f"{name} = {exact}")
            else:
                cost = POWER_COST if expression.startswith("power") else 1
                varying = tuple(n for n in operands if n not in uniform)
                traced.statements.append(Statement(name, expression, varying, cost))
        elif node.op == "output":
            traced.results.extend(names[result] for result in node.args[0])
        else:
            raise NotImplementedError(f"cannot fuse a constant tensor ({node.target})")
    return traced


def _expression(node: fx.Node, operand: Callable[[Any], str]) -> str:
    """Return the right-hand side of one operation."""
    name = str(node.target).removeprefix("aten.")
    if name == "pow.Tensor_Scalar":
        base, exponent = node.args
        return _power(operand(base), exponent, operand)
    if name in ("clamp.default", "clamp_min.default", "clamp_max.default"):
        return _clamp(node, operand, name)
    if name not in TEMPLATES or node.kwargs:
        raise NotImplementedError(f"cannot fuse {name} {node.kwargs or ''}")
    return TEMPLATES[name].format(*map(operand, node.args))


def _power(base: str, exponent: Any, operand: Callable[[Any], str]) -> str:
    if exponent in (2, 3):
        return " * ".join([base] * int(exponent))
    if exponent == 0.5:
        return f"sqrt({base})"
    return f"power({base}, {operand(exponent)})"


def _clamp(node: fx.Node, operand: Callable[[Any], str], name: str) -> str:
    """Return bounds in an order that sends NaN to the lower one."""
    value = operand(node.args[0])
    bounds = (*node.args[1:], None, None)[:2]
    if name == "clamp_max.default":
        bounds = (None, node.args[1])
    low, high = (node.kwargs.get(k, b) for k, b in zip(("min", "max"), bounds, strict=True))
    if low is None:
        return f"{value} if {value} < {operand(high)} else {operand(high)}"
    if high is None:
        return f"{value} if {value} > {operand(low)} else {operand(low)}"
    below = f"({value} if {value} < {operand(high)} else {operand(high)})"
    return f"{below} if {value} > {operand(low)} else {operand(low)}"
