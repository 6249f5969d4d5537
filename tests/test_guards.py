# pyright: standard
"""check_numerics: the first nan or infinity of a call is found, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.guard import BOUNDED, KEEP_NAN, guard
from gradloom.compiler.pipeline import compile_graph
from gradloom.ir.errors import IndexRangeError, NumericsError
from gradloom.ir.kernel_text import parse_kernel
from gradloom.ir.op import TABLE
from gradloom.ir.target import Target

from .cuda_device import simulated
from .graphs import feeds_of, graph_of_seed
from .test_cuda_programs import every_kind, image_network, naive_softmax, perceptron, recurrence

F = np.float32


def checked(inputs: Any, outputs: Any, updates: Any = None, **options: Any) -> gl.Function:
    return gl.function(inputs, outputs, updates, check_numerics=True, **options)


def never_walks(function: gl.Function) -> gl.Function:
    """The function, which from here on may not ask the interpreter."""

    def explain(error: Any, arrays: Any) -> Any:
        raise AssertionError("a false alarm")

    function._raise = explain  # pyright: ignore[reportPrivateUsage]
    return function


def raised(function: gl.Function, *args: Any) -> list[str]:
    """The lines of the error, which names the same op without fusion and in the simulator."""
    with pytest.raises(NumericsError) as caught:
        function(*args)
    return str(caught.value).split("\n")


# --- what is found --------------------------------------------------------------------------------


def test_a_logarithm_of_zero_deep_in_a_network() -> None:
    x = gl.placeholder(("B", 4), name="x")
    w = gl.parameter(np.ones((4, 3), F), name="w")
    hidden = gl.relu(x @ w)
    logs = gl.log(hidden)
    loss = gl.sum(gl.tanh(logs) * 0.5)
    updates = {w: w - 0.1 * gl.grad(loss, w)}
    for fusion in (True, False):
        step = checked([x], loss, updates, fusion=fusion)
        bad = np.ones((5, 4), F)
        bad[2] = -1
        before = w.value
        first, operand = raised(step, bad)
        assert first.startswith("@function: log made -inf in 3 of 15 numbers, first at [2, 0]")
        assert "f32[5,3], at test_guards.py:" in first
        assert "logs = gl.log(hidden)" in first
        assert operand.startswith("  of relu: f32[5,3], from 0.0 to ")
        assert "there 0.0, from test_guards.py:" in operand
        assert "hidden = gl.relu(x @ w)" in operand
        np.testing.assert_array_equal(w.value, before)
        assert np.isfinite(step(np.ones((5, 4), F)))  # it still works
        assert not np.array_equal(w.value, before)


@pytest.mark.campaign(2)
@pytest.mark.parametrize(
    ("make", "values", "told"),
    [
        (lambda x: x / x, [1, 0, 2], "divide made nan in 1 of 3 numbers, first at [1]"),
        (
            lambda x: gl.log(x),
            [0, -1, -2],
            "log made -inf in 1 and nan in 2 of 3 numbers, first at",
        ),
        (lambda x: gl.exp(x) * 0.0 + 1.0, [1, 200], "exp made inf in 1 of 2"),
        (lambda x: gl.exp(x) - gl.exp(x * 1.5), [1, 200], "exp made inf"),
        (lambda x: x - gl.flip(x), [np.inf, np.inf], "subtract made nan in 2 of 2"),
        (lambda x: gl.tanh(1 / x), [4, 0], "divide made inf in 1 of 2"),
        (lambda x: gl.maximum(gl.log(x), -9.0), [4, 0], "log made -inf"),
        (lambda x: gl.astype(gl.sqrt(x), "int64"), [4, -1], "sqrt made nan"),
        (lambda x: gl.sum(x) * 0.5, [3e38, 3e38], "sum made inf in its one number"),
        (lambda x: gl.tanh(x @ x), [3e38, 3e38], "matmul made inf"),
        (lambda x: gl.prod(x), [3e38, 2, 3e38], "prod made inf"),
        (lambda x: gl.cumulative_sum(x)[::-1], [3e38, 3e38, 1], "cumulative_sum made inf in 2"),
        (
            lambda x: gl.zeros(3).at[gl.astype(x * 0, "int64")].add(x),
            [3e38] * 2,
            "scatter_add made",
        ),
        (lambda x: gl.linalg.det(x[:, None] * gl.eye(x.shape[0])), [3e38, 3e38], "det made inf"),
        (lambda x: gl.astype(x, "float16"), [1, 7e4], "cast made inf"),
        (lambda x: gl.exp(gl.astype(x, "float16")), [1, 12], "exp made inf in 1 of 2 numbers"),
        (lambda x: gl.where(x > 1, x, np.nan), [1, 2], "constant holds nan"),
        (lambda x: x + 1, [1, np.nan, np.nan], "input x holds nan in 2 of 3 numbers, first at [1]"),
        (lambda x: x, [1, np.nan], "input x holds nan"),
        (lambda x: x[1:], [1, np.nan], "input x holds nan"),
        (lambda x: gl.max(x), [1, np.nan], "input x holds nan"),
        (lambda x: gl.argmax(x), [1, np.nan], "input x holds nan"),
    ],
)
def test_what_is_found(make: Callable[[gl.Tensor], gl.Tensor], values: Any, told: str) -> None:
    x = gl.placeholder(("N",), name="x")
    given = np.array(values, F)
    step = checked([x], make(x))
    assert told in raised(step, given)[0]
    for made in (step, checked([x], make(x), fusion=False)):
        with pytest.raises(NumericsError):
            simulated(made)([given], [])


def test_the_operands_are_described() -> None:
    x = gl.placeholder(("N", 2), name="x")
    y = gl.placeholder((), name="y")
    step = checked([x, y], x / gl.where(x > 0, y, x))
    lines = raised(step, np.array([[1, -2], [5, np.inf]], F), F(0))
    assert "divide made inf in 2 of 4 numbers, first at [0, 0]: f32[2,2], at" in lines[0]
    assert lines[1].startswith("  of x: f32[2,2], from -2.0 to 5.0, 1 infinite, there 1.0, from")
    assert lines[2].startswith("  of where: f32[2,2], from -2.0 to 0.0, there 0.0, from")


def test_a_nan_in_a_parameter() -> None:
    x = gl.placeholder(("B", 2), name="x")
    w = gl.parameter(np.array([[1.0], [np.nan]], F), name="w")
    step = checked([x], gl.sum(x @ w), {w: w * 0.5})
    assert (
        "parameter w holds nan in 1 of 2 numbers, first at [1, 0]"
        in raised(step, np.ones((1, 2), F))[0]
    )
    np.testing.assert_array_equal(w.value, [[1.0], [np.nan]])
    w.value = np.ones((2, 1), F)
    assert step(np.ones((1, 2), F)) == 2
    np.testing.assert_array_equal(w.value, [[0.5], [0.5]])


def test_only_the_derivative_is_bad() -> None:
    x = gl.placeholder(("N",), name="x")
    loss = gl.sum(gl.sqrt(x))
    assert checked([x], loss)(np.zeros(2, F)) == 0
    (first, *_) = raised(checked([x], gl.grad(loss, x)), np.array([4, 0], F))
    assert "made inf in 1 of 2 numbers, first at [1]" in first
    assert "loss = gl.sum(gl.sqrt(x))" in first


def test_a_bad_update_changes_no_parameter() -> None:
    x = gl.placeholder((), name="x")
    v = gl.parameter(np.ones(2, F), name="v")
    w = gl.parameter(np.array([1, 3], F), name="w")
    step = checked([x], x * 2, {v: v + x, w: w / x})
    assert "divide made inf" in raised(step, F(0))[0]
    np.testing.assert_array_equal(v.value, [1, 1])
    np.testing.assert_array_equal(w.value, [1, 3])
    assert step(F(2)) == 4
    np.testing.assert_array_equal(v.value, [3, 3])
    np.testing.assert_array_equal(w.value, [0.5, 1.5])
    y = gl.placeholder((2,), name="y")
    given = checked([y], [], {w: y})
    assert "input y holds nan" in raised(given, np.array([0, np.nan], F))[0]
    np.testing.assert_array_equal(w.value, [0.5, 1.5])
    given(np.array([7, np.inf], F))
    np.testing.assert_array_equal(w.value, [7, np.inf])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_step_of_a_loop(reverse: bool) -> None:
    x = gl.placeholder(("T", 2), name="x")

    def body(carry: gl.Tensor, row: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor]:
        root = gl.sqrt(row)
        return carry * 0.5 + root, gl.sum(root)

    last, ys = gl.scan(body, gl.zeros(2), x, reverse=reverse)
    rows = np.ones((5, 2), F)
    rows[3, 1] = -1
    lines = raised(checked([x], [last, ys]), rows)
    assert "sqrt made nan in 1 of 2 numbers, first at [1]" in lines[0]
    assert "root = gl.sqrt(row)" in lines[0]
    assert lines[-1].startswith("  in step 3 of the loop at test_guards.py:")
    step = checked([x], ys[:2] if not reverse else ys[4:])  # what is bad is not asked for
    np.testing.assert_array_equal(step(rows), [2, 2] if not reverse else [2])
    with pytest.raises(NumericsError):
        simulated(step)([rows], [])  # conservative: here the caller walks the graph


def test_an_error_that_a_nan_leads_to() -> None:
    """The nan is the news, not the index that was made of it."""
    x = gl.placeholder((), name="x")
    table = gl.arange(4.0)
    picked = table[gl.astype(gl.log(x) * 100, "int64")]
    step = checked([x], picked)
    assert step(F(1)) == 0
    assert "log made -inf in its one number" in raised(step, F(0))[0]
    with pytest.raises(IndexRangeError):
        step(F(2))


# --- what is no alarm -----------------------------------------------------------------------------


def attention(x: gl.Tensor) -> gl.Tensor:
    n = x.shape[0]
    scores = gl.where(gl.arange(n)[:, None] >= gl.arange(n), x[:, None] * x, -np.inf)
    return gl.sum(gl.softmax(scores, axis=1) * x, axis=1)


QUIET: dict[str, tuple[Callable[[gl.Tensor], gl.Tensor], Any]] = {
    "masked root": (lambda x: gl.where(x > 0, gl.sqrt(x), 0.0), [1, -4, 0]),
    "masked quotient": (lambda x: gl.sum(gl.where(x != 0, 1 / x, 0.0)), [1, 0, 4]),
    "two masks": (
        lambda x: gl.where(x > 0, gl.where(x > 1, gl.log(x - 1), gl.log(x)), gl.exp(-x)),
        [0.5, 1, 3, -1],
    ),
    "used twice, masked twice": (
        lambda x: gl.where(x > 0, gl.log(x), 0.0) + gl.where(x > 2, gl.log(x), 1.0),
        [1, 0, 4, -4],
    ),
    "nan replaced": (lambda x: gl.where(gl.isnan(x), 0.0, x) * 2, [1, np.nan]),
    "entropy": (lambda x: -gl.sum(gl.where(x > 0, x * gl.log(x), 0.0)), [0, 0.5, 0.5]),
    "xlogy": (lambda x: gl.sum(gl.xlogy(x, x)), [0, 0.5, 0.5]),
    "infinite input": (lambda x: gl.maximum(x, 0) + gl.exp(-x), [1, np.inf]),
    "attention": (attention, [1, 2, 3]),
    "gradient of attention": (lambda x: gl.grad(gl.sum(attention(x)), x), [1, 2, 3]),
    "log_softmax": (gl.log_softmax, [1, -np.inf, 2]),
    "gradient of log_softmax": (
        lambda x: gl.grad(gl.log_softmax(x)[0], x), [1, -np.inf, 2]
    ),
    "nothing": (lambda x: gl.sum(gl.log(x)), []),
}  # fmt: skip


# Of these what is masked is stored where nothing is fused, and the interpreter decides.
STORED = ("masked root", "two masks", "nan replaced", "attention")


@pytest.mark.campaign(3)
@pytest.mark.parametrize("name", QUIET)
def test_no_alarm(name: str) -> None:
    make, values = QUIET[name]
    x = gl.placeholder(("N",), name="x")
    given = np.array(values, F)
    step = never_walks(checked([x], make(x)))
    found = step(given)
    np.testing.assert_allclose(found, make(x).eval({"x": given}), 1e-5, 1e-6)
    if name in STORED:
        alone = checked([x], make(x), fusion=False)
        np.testing.assert_array_equal(alone(given), found)
    (simulation,) = simulated(step)([given], [])
    np.testing.assert_allclose(simulation, found, 1e-5, 1e-6)


def test_an_alarm_that_was_none_gives_the_plain_result() -> None:
    """What is stored is checked as a whole; the interpreter sees that a part is never read."""
    x = gl.placeholder(("N",), name="x")
    w = gl.parameter(np.zeros(2, F), name="w")
    kept = gl.take(gl.log(x), gl.constant([0, 1]), axis=0)
    step = checked([x], kept, {w: kept})
    given = np.array([1, 1, 0], F)
    for _ in range(2):
        np.testing.assert_array_equal(step(given), [0, 0])
    np.testing.assert_array_equal(w.value, [0, 0])


# --- the same bits, the same kernels --------------------------------------------------------------

MODELS = (naive_softmax, perceptron, recurrence, every_kind, image_network)


@pytest.mark.campaign(5)
@pytest.mark.parametrize("build", MODELS)
def test_models_have_the_same_kernels_and_bits(build: Callable[[], Any]) -> None:
    plain, draw, parameters = build()
    updates = list(zip(parameters, [v for _, v in plain.graph.updates], strict=True))
    step = never_walks(checked(plain.graph.inputs, list(plain.graph.outputs), updates))
    device = simulated(step)
    assert len(step.kernels) == len(plain.kernels)
    for batch in (1, 5):
        arrays = {k: np.asarray(v, "int64" if k == "t" else F) for k, v in draw(batch).items()}
        before = [parameter.value for parameter in parameters]
        found: list[list[bytes]] = []
        for function in (plain, step):
            for parameter, value in zip(parameters, before, strict=True):
                parameter.value = value
            results: Any = function(**arrays)
            results = results if isinstance(results, list) else [results]
            found.append([np.asarray(a).tobytes() for a in results])
            found[-1] += [parameter.value.tobytes() for parameter in parameters]
        assert found[0] == found[1]
        if batch == 1:
            device([arrays[graph_name(plain, t)] for t in plain.graph.inputs], parameters)


def graph_name(function: gl.Function, tensor: gl.Tensor) -> str:
    return function.graph.names[tensor]


def check_random(seed: int) -> bool:
    """The same bits, or an alarm where the interpreter finds something; whether it is one."""
    graph = graph_of_seed(seed)
    plain, step = gl.compile(graph), gl.compile(graph, check_numerics=True)
    feeds = feeds_of(graph, seed, (0, 1, 5)[seed % 3], (2.0, 60.0)[seed % 2])
    wanted: Any = plain(**feeds)
    try:
        found: Any = step(**feeds)
    except NumericsError as error:
        assert " holds nan" in str(error) or " made " in str(error)
        return True
    both = [value if isinstance(value, list) else [value] for value in (wanted, found)]
    for a, b in zip(*both, strict=True):
        assert a.tobytes() == b.tobytes(), graph
        assert not np.isnan(a).any(), graph  # inputs have none
    return False


def test_random_graphs() -> None:
    alarms = [check_random(seed) for seed in range(6)]
    assert 0 < sum(alarms) < 6


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_many_random_graphs(part: int) -> None:
    for seed in range(6 + 250 * part, 256 + 250 * part):
        check_random(seed)


# --- the step from kernel to kernel ---------------------------------------------------------------


def test_the_guards_of_a_kernel() -> None:
    """One check a walk; no test of what cannot be bad, or is bad again in what it makes."""
    text = """kernel k(a0: f32, a1: out f32) over i: parallel 8 {
      v0 = load a0[i] : f32
      v1 = tanh v0 : f32
      v2 = log v1 : f32
      v3 = constant 0.0 : f32
      v4 = greater v1, v3 : bool
      v5 = where v4, v2, v3 : f32
      store a1[i] = v5
    }"""
    kernel = parse_kernel(text)
    made = guard(kernel)
    assert made.body[: len(kernel.body)] == kernel.body
    more = [str(item).split("(")[0] and item for item in made.body[len(kernel.body) :]]
    ops = [(item.op, item.operands) for item in more]  # type: ignore[union-attr]
    asked = [operands[0] for op, operands in ops if op in ("isnan", "isfinite")]
    assert asked == ["v1", "v1", "v2", "v5"]  # v1: a nan; of it, v2; the result: a nan
    assert [op for op, _ in ops].count("checked") == 1
    assert parse_kernel(str(made)) == made


def test_one_flag_is_number_one() -> None:
    x = gl.placeholder(("N",), name="x")
    graph = gl.function([x], gl.check(gl.log(x), x < 5, "large")).graph
    program = compile_graph(graph, Target(), guarded=True).program
    assert program is not None and program.guarded
    assert [check.error for check in program.checks] == ["NumericsError", "CheckError"]
    assert gl.parse_program(str(program)) == program
    step = checked([x], gl.check(gl.log(x), x < 5, "large"))
    with pytest.raises(gl.CheckError):
        step(np.array([7], F))
    assert "log made" in raised(step, np.array([0], F))[0]


RNG = np.random.default_rng(0)
EDGES = np.array([0.0, -0.0, 1, -1, 0.5, 3e38, -3e38, 1e-40, 2, 100, np.inf, -np.inf], F)
VALUES = np.concatenate([EDGES, RNG.normal(size=40) * 3, RNG.normal(size=8) * 1e30]).astype(F)


@pytest.mark.parametrize("name", sorted(BOUNDED | KEEP_NAN))
def test_what_is_said_of_the_ops_is_so(name: str) -> None:
    """BOUNDED: finite stays finite.  KEEP_NAN: a nan in an operand is one in the result."""
    op = TABLE[name]
    count = len(op.operands) - (op.dtypes == "where")
    columns: list[Any] = [a.reshape(-1) for a in np.meshgrid(*[VALUES] * count)]
    choice = [np.ones(columns[0].shape, bool)] * (op.dtypes == "where")
    attrs = {"message": ""} if name == "checked" else {}
    with np.errstate(all="ignore"):
        if name in BOUNDED:
            finite = np.logical_and.reduce([np.isfinite(c) for c in columns])
            result = op.reference(*choice, *columns, **attrs)
            assert not np.isinf(result[finite]).any()
        for i in range(count if name in KEEP_NAN and name != "where" else 0):
            given = list(columns)
            given[i] = np.full_like(given[i], np.nan)
            assert np.isnan(op.reference(*given)).all()
