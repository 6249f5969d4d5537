# pyright: standard
"""One op of every kind through everything: rows are ops, columns are what an entry must give.

A cell asserts; no cell is empty.  Where a kind has no derivative, the cell asserts that it says so.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.vmap import vmap
from gradloom.ir.graph import Graph
from gradloom.ir.kernel import Store
from gradloom.ir.program import Host, Launch, Loop, walk
from gradloom.ir.target import Target
from gradloom.ir.tensor import Tensor

from .op_cases import close, interpret, slopes_of

NumpyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Row:
    """An op of one kind.

    build: from the operands.  type: of the result, with the named size B.  by_numpy: the same on
    arrays.  stands: ``fused`` inside a kernel with its neighbours, ``view`` as strides alone,
    ``scatter`` as a kernel of its own, ``loop``, or ``host`` between kernels.  smooth: positions
    of the operands that have derivatives; reason: the error where there are none.
    """

    name: str
    operands: tuple[tuple[tuple[Any, ...], str], ...]
    build: Callable[..., Tensor]
    type: str
    by_numpy: Callable[..., Any]
    stands: str
    smooth: tuple[int, ...]
    reason: str = ""
    op: str = ""


def _philox_uniform(key: NumpyArray) -> Any:
    """uniform(key, (3, 4)) by NumPy's own Philox, which counts in words of 64 bits."""
    words: list[float] = []
    for i in range(12):
        words.append((_philox(i, int(key[0]), int(key[1])) >> 8) * 2.0**-24)
    return np.array(words, np.float32).reshape(3, 4)


def _philox(counter: int, key0: int, key1: int) -> int:
    """Philox4x32-10 in plain integers, the first word (Salmon et al. 2011)."""
    c = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ key0, b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ key1, a & 0xFFFFFFFF]
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return c[0]


def _bits(key: NumpyArray) -> Any:
    words = [_philox(i, int(key[0]), int(key[1])) for i in range(12)]
    return np.array(words, np.uint32).reshape(3, 4)


def _recurrence(c: Any, x: Any) -> Any:
    return gl.tanh(c * x + 0.5 * x)


def _last_and_ys(init: Tensor, xs: Tensor) -> Tensor:
    last, ys = gl.scan(lambda c, x: (_recurrence(c, x), c * x), init, xs)
    return last + gl.sum(ys, axis=0)


def _last_and_ys_by_numpy(init: NumpyArray, xs: NumpyArray) -> Any:
    c, total = init, np.zeros_like(init)
    for x in xs:
        total = total + c * x
        c = np.tanh(c * x + 0.5 * x)
    return c + total


def _scatter_add(x: Tensor, i: Tensor) -> Tensor:
    """The transpose of gather, as a gradient makes it."""
    from gradloom.ir.ops.gather import scatter_add

    into = gl.zeros((x.shape[0], 5), x.dtype)
    return scatter_add(into, x, i, axes=(1,))


def _scatter_add_by_numpy(x: NumpyArray, i: NumpyArray) -> Any:
    result = np.zeros((len(x), 5), x.dtype)
    for row, column in np.ndindex(*x.shape):
        result[row, i[row, column]] += x[row, column]
    return result


B4 = (("B", 4), "float64")
KEY = ((2,), "uint32")

ROWS = [
    Row("tanh", (B4,), gl.tanh, "f64[B,4]", np.tanh, "fused", (0,)),
    Row("add", (B4, ((4,), "float64")), gl.add, "f64[B,4]", np.add, "fused", (0, 1)),
    Row(
        "sum",
        (B4,),
        lambda x: gl.sum(x, axis=1, keepdims=True),
        "f64[B,1]",
        lambda x: x.sum(1, keepdims=True),
        "fused",
        (0,),
    ),
    Row(
        "max",
        (B4,),
        lambda x: gl.max(x, axis=1, keepdims=True),
        "f64[B,1]",
        lambda x: x.max(1, keepdims=True),
        "fused",
        (0,),
    ),
    Row(
        "cumulative_sum",
        (B4,),
        lambda x: gl.cumulative_sum(x, axis=0),
        "f64[B,4]",
        lambda x: x.cumsum(0),
        "fused",
        (0,),
    ),
    Row("matmul", (B4, ((4, 3), "float64")), gl.matmul, "f64[B,3]", np.matmul, "fused", (0, 1)),
    Row(
        "reshape",
        (B4,),
        lambda x: gl.reshape(x, (-1,)),
        "f64[4*B]",
        lambda x: x.reshape(-1),
        "view",
        (0,),
    ),
    Row("permute", (B4,), lambda x: x.T, "f64[4,B]", np.transpose, "view", (0,)),
    Row("slice", (B4,), lambda x: x[:, 3:0:-2], "f64[B,2]", lambda x: x[:, 3:0:-2], "view", (0,)),
    Row(
        "broadcast_to",
        (((1, 4), "float64"), B4),
        lambda x, y: gl.broadcast_to(x, y.shape) + 0 * y,
        "f64[B,4]",
        lambda x, y: x + 0 * y,
        "view",
        (0, 1),
    ),
    Row(
        "gather",
        (B4, (("B", 2), "int64")),
        lambda x, i: gl.take_along_axis(x, i, axis=1),
        "f64[B,2]",
        lambda x, i: np.take_along_axis(x, i, 1),
        "fused",
        (0,),
    ),
    Row(
        "scatter_add",
        ((("B", 3), "float64"), (("B", 3), "int64")),
        _scatter_add,
        "f64[B,5]",
        _scatter_add_by_numpy,
        "scatter",
        (0,),
    ),
    Row(
        "random_bits",
        (KEY,),
        lambda key: gl.random.bits(key, (3, 4)),
        "u32[3,4]",
        _bits,
        "fused",
        (),
        "no float",
    ),
    Row(
        "uniform",
        (KEY,),
        lambda key: gl.random.uniform(key, (3, 4)),
        "f32[3,4]",
        _philox_uniform,
        "fused",
        (),
        "no float",
        op="random_bits",
    ),
    Row(
        "scan",
        (((4,), "float64"), B4),
        _last_and_ys,
        "f64[4]",
        _last_and_ys_by_numpy,
        "loop",
        (0, 1),
    ),
    Row(
        "solve",
        (((3, 3), "float64"), ((3, 2), "float64")),
        gl.solve,
        "f64[3,2]",
        np.linalg.solve,
        "host",
        (0, 1),
    ),
]
B = 3


def inputs_of(row: Row) -> list[Tensor]:
    return [gl.placeholder(shape, dtype, f"x{i}") for i, (shape, dtype) in enumerate(row.operands)]


def graph_of(row: Row) -> Graph:
    inputs = inputs_of(row)
    return Graph("kind", inputs, [row.build(*inputs)])


def arrays_of(row: Row, size: int = B, seed: int = 0) -> list[NumpyArray]:
    rng = np.random.default_rng(seed)
    found: list[NumpyArray] = []
    for shape, dtype in row.operands:
        sizes = [size if n == "B" else n for n in shape]
        values: Any = rng.normal(size=sizes) if dtype == "float64" else rng.integers(0, 4, sizes)
        found.append(np.asarray(values).astype(dtype))
    return found


# --- the columns ----------------------------------------------------------------------------------


def type_rule(row: Row) -> None:
    (output,) = graph_of(row).outputs
    assert str(output.type) == row.type


def reference(row: Row) -> None:
    for size in (B, 1, 0):
        arrays = arrays_of(row, size)
        (got,) = interpret(graph_of(row), arrays)
        wanted = np.asarray(row.by_numpy(*arrays))
        assert got.shape == wanted.shape
        assert got.dtype == wanted.dtype
        close(got, wanted)


def _weighted(row: Row, inputs: Sequence[Tensor]) -> Tensor:
    """A smooth scalar of the result."""
    y = row.build(*inputs)
    return gl.sum(gl.sin(y) * y) if y.dtype.is_float else gl.sum(gl.astype(y, "float32"))


def reverse(row: Row) -> None:
    inputs = inputs_of(row)
    loss = _weighted(row, inputs)
    if not row.smooth:
        with pytest.raises(gl.GradloomError, match=row.reason):
            gl.grad(loss, inputs[0])
        return
    wrt = [inputs[i] for i in row.smooth]
    found = gl.compile(Graph("reverse", inputs, gl.grad(loss, wrt)))
    arrays = arrays_of(row)
    got = found(*arrays)
    for i, slope in zip(row.smooth, got if isinstance(got, list) else [got], strict=True):
        close(slope, slopes_of(Graph("loss", inputs, [loss]), arrays, i), 1e-7)


def forward(row: Row) -> None:
    inputs = inputs_of(row)
    loss = _weighted(row, inputs)
    if not row.smooth:
        with pytest.raises(gl.GradloomError, match="no derivative"):
            gl.jvp(loss, inputs[0], inputs[0])
        return
    wrt = [inputs[i] for i in row.smooth]
    directions = [gl.placeholder(t.shape, t.dtype, f"d{i}") for i, t in enumerate(wrt)]
    pushed = gl.jvp(loss, wrt, directions)
    gradients = gl.grad(loss, wrt)
    function = gl.compile(Graph("forward", [*inputs, *directions], [pushed, *gradients]))
    arrays = arrays_of(row)
    along = [np.random.default_rng(i).normal(size=arrays[i].shape) for i in row.smooth]
    got, *slopes = function(*arrays, *along)
    close(got, sum(np.sum(s * d) for s, d in zip(slopes, along, strict=True)), 1e-10)


def batching(row: Row) -> None:
    """vmap over all operands, and over each alone, compiled, against a loop."""
    count, size = len(row.operands), 4
    entries = [arrays_of(row, B, seed) for seed in range(size)]
    choices = [tuple(True for _ in range(count))]
    choices += [tuple(i == j for j in range(count)) for i in range(count) if count > 1]
    for flags in choices:
        plain = inputs_of(row)
        inputs = [
            gl.placeholder(("N", *t.shape) if flag else t.shape, t.dtype, f"x{i}")
            for i, (t, flag) in enumerate(zip(plain, flags, strict=True))
        ]
        output = vmap(row.build, [0 if flag else None for flag in flags])(*inputs)
        function = gl.compile(Graph("batched", inputs, [output]))
        given = [
            np.stack([entry[i] for entry in entries]) if flag else entries[0][i]
            for i, flag in enumerate(flags)
        ]
        got = function(*given)
        for n in range(size):
            own = [entries[n][i] if flag else entries[0][i] for i, flag in enumerate(flags)]
            close(got[n], row.by_numpy(*own), 1e-9)


def fusion(row: Row) -> None:
    """Where the op stands between two element-wise neighbours."""
    inputs = inputs_of(row)
    first, *others = inputs
    result = row.build(gl.sin(first) if first.dtype.is_float else first, *others)
    after = gl.exp(gl.astype(result, "float64"))
    function = gl.compile(Graph("fusion", inputs, [after]))
    *_, last = function.stages.values()
    kernels = [node.regions[0] for node in last.walk() if node.op.name == "fused"]
    holding = [[node.op.name for node in kernel.nodes] for kernel in kernels]
    steps = list(walk(function.program.steps))
    match row.stands:
        case "fused":
            (together,) = [names for names in holding if (row.op or row.name) in names]
            assert "exp" in together
            if row.name == "matmul":
                assert len(kernels) == 2  # its operand is made in memory
            elif row.name != "gather":
                assert len(kernels) == 1
                assert sum(isinstance(step, Launch) for step in steps) == 1
        case "view":
            assert not any(row.name in names for names in holding)
            assert sum(isinstance(step, Launch) for step in steps) <= 2  # as without the view
        case "scatter":
            assert any(
                isinstance(item, Store) and item.combine
                for kernel in function.kernels
                for item in kernel.body
            )
        case "loop":
            (loop,) = [step for step in steps if isinstance(step, Loop)]
            launches = [step for step in loop.body if isinstance(step, Launch)]
            assert len(launches) == 1  # the whole recurrence is one kernel
        case "host":
            (host,) = [step for step in steps if isinstance(step, Host)]
            assert host.op == row.name
            assert any(step.kernel for step in steps if isinstance(step, Launch))
        case other:
            raise AssertionError(other)


def cpu_kernel(row: Row) -> None:
    """Compiled against NumPy at several sizes; fused and unfused give the same bits."""
    graph = graph_of(row)
    function, unfused = gl.compile(graph), gl.compile(graph, fusion=False)
    if row.stands != "host":
        assert function.program.steps
        for kernel in function.kernels:
            assert "def " in kernel.source
    for size in (B, 1, 0, 70):
        arrays = arrays_of(row, size)
        got = function(*arrays)
        close(got, row.by_numpy(*arrays), 1e-10)
        assert got.tobytes() == unfused(*arrays).tobytes()


def cuda_text(row: Row) -> None:
    program = compile_graph(graph_of(row), Target("cuda")).program
    assert program is not None
    for kernel in program.kernels:
        (function,) = ast.parse(kernel.source).body
        assert isinstance(function, ast.FunctionDef)
        assert [a.arg for a in function.args.args][-1] == "status"
    hosts = [step.op for step in walk(program.steps) if isinstance(step, Host)]
    assert hosts == (["solve"] if row.stands == "host" else [])
    if row.stands in ("fused", "scatter", "loop"):
        assert program.kernels


def text_round_trip(row: Row) -> None:
    graph = graph_of(row)
    again = gl.parse(str(graph))
    assert again == graph
    assert str(again) == str(graph)
    function = gl.compile(graph)
    for stage in function.stages.values():
        assert gl.parse(str(stage)) == stage
    assert gl.parse_program(str(function.program)) == function.program
    arrays = arrays_of(row)
    assert gl.compile(again)(*arrays).tobytes() == function(*arrays).tobytes()


COLUMNS = [
    type_rule,
    reference,
    reverse,
    forward,
    batching,
    fusion,
    cpu_kernel,
    cuda_text,
    text_round_trip,
]


@pytest.mark.campaign(6)
@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.__name__)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_cell(row: Row, column: Callable[[Row], None]):
    column(row)
