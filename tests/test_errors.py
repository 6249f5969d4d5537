# ruff: noqa: E501 (a row of a table is a line)
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""What a user gets wrong: every error says what, which types, and on which lines."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl

X = gl.placeholder(("B", 64), name="x")
Y = gl.placeholder(("B", 63), name="y")
COLUMN = gl.placeholder(("B",), name="column")
ROW = gl.placeholder((64,), name="row")
LABELS = gl.placeholder(("B",), "int64", name="labels")
MASK = gl.placeholder(("B", 64), "bool", name="mask")
BOX = gl.placeholder((5, 1, 3), name="box")
W = gl.parameter(np.zeros((64, 10), "float32"), name="w")


def line_of(tensor: gl.Tensor) -> str:
    """`file:line` of the tensor's making, as a message quotes it."""
    return str(tensor.node.loc[0])


def here(back: int = 0) -> str:
    """`file:line` of the caller, `back` lines up."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return f"test_errors.py:{frame.f_back.f_lineno - back}"


def failure(kind: type[BaseException], make: Callable[[], Any]) -> str:
    """The message of the error of that kind, which is one of ours, that `make` raises."""
    with pytest.raises(kind) as caught:
        make()
    assert isinstance(caught.value, gl.GradloomError)
    return str(caught.value)


Case = tuple[Callable[[], Any], type[BaseException], str]

# fmt: off
BUILDING: list[Case] = [
    # shapes
    (lambda: COLUMN + ROW, ValueError, "add: sizes of axis 0 differ: B against 64"),
    (lambda: X + Y, ValueError, "add: sizes of axis 1 differ: 64 against 63"),
    (lambda: gl.where(MASK, X, Y), ValueError, "where: sizes of axis 1 differ: 64 against 63"),
    (lambda: X @ Y, ValueError, "matmul: inner sizes differ: 64 against B"),
    (lambda: W @ ROW, ValueError, "matmul: inner sizes differ: 10 against 64"),
    (lambda: X @ 2.0, ValueError, "matmul: operands need at least one axis"),
    (lambda: gl.dot(BOX, ROW), ValueError, "dot: is for vectors and matrices, got f32[5,1,3]"),
    (lambda: gl.solve(X, X), ValueError, "solve: the sizes of a square matrix differ: B against 64"),
    (lambda: gl.reshape(ROW, (7, 9)), ValueError, "numbers of elements differ: 64 against 63"),
    (lambda: gl.reshape(ROW, (-1, 9)), ValueError, "f32[64] does not divide into (-1, 9)"),
    (lambda: gl.reshape(X, (0, -1)), ValueError, "f32[B,64] does not divide into (0, -1)"),
    (lambda: gl.reshape(X, (64,)), ValueError, "numbers of elements differ: 64*B against 64"),
    (lambda: X.reshape(-1, -1), ValueError, "only one size may be -1, got (-1, -1)"),
    (lambda: gl.reshape(X, (2.5, -1)), ValueError, "a size is an integer or the name of a dimension"),
    (lambda: gl.squeeze(BOX, 0), ValueError, "axis 0 of f32[5,1,3] is not of size 1"),
    (lambda: gl.squeeze(X, 0), ValueError, "axis 0 of f32[B,64] is not of size 1"),
    (lambda: gl.squeeze(BOX, (1, 1)), ValueError, "names an axis twice"),
    (lambda: gl.expand_dims(X, (0, 0)), ValueError, "names an axis twice"),
    (lambda: gl.broadcast_to(X, (64,)), ValueError, "2 axes do not broadcast to 1"),
    (lambda: gl.broadcast_to(ROW, ("B", 63)), ValueError, "sizes differ: 64 against 63"),
    (lambda: gl.permute_dims(X, (0, 0)), ValueError, "(0, 0) are no permutation of 2 axes"),
    (lambda: ROW.T, ValueError, ".T: is for matrices"),
    (lambda: gl.matrix_transpose(ROW), ValueError, "needs at least two axes, got f32[64]"),
    (lambda: gl.zeros((-1, 3)), ValueError, "a size must not be negative, got -1"),
    (lambda: gl.placeholder((3, -1)), ValueError, "a size must not be negative, got -1"),
    (lambda: gl.placeholder(("-2",)), ValueError, "a size must not be negative, got -2"),
    (lambda: gl.placeholder((None,)), ValueError, "a size is an integer or the name of a dimension"),  # type: ignore[arg-type]
    # axes
    (lambda: gl.sum(X, axis=2), ValueError, "sum: axis 2 is out of range for 2 dimensions"),
    (lambda: gl.sum(X, axis=-3), ValueError, "sum: axis -3 is out of range for 2 dimensions"),
    (lambda: X.mean(axis=(0, 0)), ValueError, "axis (0, 0) names an axis twice"),
    (lambda: gl.max(X, axis=1.0), ValueError, "max: an axis is an integer, got 1.0"),  # type: ignore[arg-type]
    (lambda: gl.sum(X, axis="1"), ValueError, "sum: an axis is an integer, got '1'"),  # type: ignore[arg-type]
    (lambda: gl.argmax(X, axis=5), ValueError, "argmax: axis 5 is out of range"),
    (lambda: gl.softmax(X, axis=2), ValueError, "softmax: axis 2 is out of range"),
    (lambda: gl.moveaxis(X, 4, 0), ValueError, "moveaxis: axis 4 is out of range"),
    (lambda: gl.squeeze(BOX, 9), ValueError, "squeeze: axis 9 is out of range for 3 dimensions"),
    # dtypes
    (lambda: LABELS + COLUMN, TypeError, "add: i64 and f32 do not promote to a common type"),
    (lambda: LABELS + 1.5, TypeError, "add: the Python scalar 1.5 does not fit i64"),
    (lambda: LABELS / LABELS, TypeError, "divide: needs a float dtype, got i64"),
    (lambda: gl.sqrt(LABELS), TypeError, "sqrt: needs a float dtype, got i64"),
    (lambda: gl.mean(LABELS), TypeError, "mean: needs a float dtype, got i64[B]"),
    (lambda: gl.where(X, X, X), TypeError, "where: the condition must be bool, got f32"),
    (lambda: ~X, TypeError, "bitwise_invert: needs bitwise dtype, got f32"),
    (lambda: gl.maximum(X, LABELS[0]), TypeError, "maximum: f32 and i64 do not promote"),
    (lambda: X + None, TypeError, "None is no tensor, number or array of numbers"),
    (lambda: "text" * X, TypeError, "'text' is no tensor, number or array of numbers"),
    (lambda: gl.exp({}), TypeError, "{} is no tensor, number or array of numbers"),
    (lambda: gl.constant([[1.0], [1.0, 2.0]]), ValueError, "[[1.0], [1.0, 2.0]] is no array"),
    (lambda: gl.constant(1j), TypeError, "dtype complex128 is not supported"),
    (lambda: gl.parameter("abc"), TypeError, "'abc' is no tensor, number or array"),
    (lambda: gl.placeholder((3,), "complex64"), TypeError, "dtype complex64 is not supported"),
    (lambda: X.astype("flat"), TypeError, "'flat' is no data type"),
    # indices
    (lambda: gl.take_along_axis(X, LABELS, axis=1), ValueError, "the index i64[B] has not as many axes as f32[B,64]"),
    (lambda: gl.take_along_axis(X, X, axis=1), TypeError, "an index must be an integer, got f32[B,64]"),
    (lambda: gl.take(X, COLUMN, axis=0), TypeError, "an index must be an integer, got f32[B]"),
    (lambda: gl.one_hot(COLUMN, 3), TypeError, "an index must be an integer, got f32[B]"),
    (lambda: X[COLUMN], TypeError, "an index must be an integer, got f32[B]"),
    (lambda: X[1.0], TypeError, "an index must be an integer"),
    (lambda: X["a"], TypeError, "'a' is no tensor, number or array of numbers"),
    (lambda: X[MASK], ValueError, "a boolean mask that is a tensor selects as many entries as only"),
    (lambda: X.at[MASK].set(0), ValueError, "x.at[...].set: a boolean mask that is a tensor"),
    (lambda: X[:, 64], IndexError, "index 64 is out of range for axis 1 of f32[B,64]"),
    (lambda: X[:, -65], IndexError, "index -65 is out of range for axis 1 of f32[B,64]"),
    (lambda: X[0, 0, 0], IndexError, "3 indices for f32[B,64]"),
    (lambda: X[..., ...], ValueError, "an index may hold one ellipsis"),
    (lambda: X[::0], ValueError, "a slice's step is an integer other than 0, got 0"),
    (lambda: X[1.0:], ValueError, "a slice's bounds are integers or sizes, got 1.0"),
    (lambda: X[LABELS[0]:], ValueError, "a slice's bounds are integers or sizes"),
    # names of dimensions
    (lambda: gl.placeholder(("f32",)), ValueError, "'f32' is no name for a dimension: it is reserved"),
    (lambda: gl.placeholder(("min",)), ValueError, "'min' is no name for a dimension: it is reserved"),
    (lambda: gl.placeholder(("a b",)), ValueError, "'a b' is no dimension"),
    (lambda: gl.placeholder(("",)), ValueError, "'' is no dimension"),
    (lambda: gl.placeholder(("B*C/2",)), ValueError, "'B*C/2' is no dimension"),
    # scans
    (lambda: gl.scan(lambda c, v: c, COLUMN, X), ValueError, "returns a pair (carry, y)"),
    (lambda: gl.scan(lambda c, v: (c, v), COLUMN), ValueError, "needs xs or a length"),
    (lambda: gl.scan(lambda c, v: ((c, c), v), ROW, X), ValueError, "the body gives a tuple of 2 for the carry, which is f32[64]"),
    (lambda: gl.scan(lambda c, v: (v, c), 0.0, X), ValueError, "the carry enters the body as f32[] but leaves it as f32[64]"),
    (lambda: gl.random.uniform(X, (3,)), TypeError, "a key is u32[2], got f32[B,64]"),
]
# fmt: on


@pytest.mark.parametrize("case", BUILDING, ids=lambda case: case[2])
def test_building_names_what_and_where(case: Case) -> None:
    make, kind, what = case
    message = failure(kind, make)
    assert what in message
    assert f"at test_errors.py:{make.__code__.co_firstlineno}: `" in message


def test_a_mismatch_names_both_types_and_both_lines() -> None:
    message = failure(ValueError, lambda: COLUMN + ROW)
    for tensor in (COLUMN, ROW):
        assert f"{tensor.type} from {line_of(tensor)}: `" in message
    assert 'gl.placeholder((64,), name="row")' in message, "the line's text is quoted"


def test_a_long_line_is_cut() -> None:
    text = "gl.sum(X, axis=7)" + "  " + "# " + "-" * 1000
    scope: dict[str, Any] = {"gl": gl, "X": X}
    message = failure(ValueError, lambda: eval(compile(text, "<input>", "eval"), scope))
    assert "<input>:1" in message and len(message) < 1000


SYMBOLIC: dict[str, tuple[Callable[[], Any], str]] = {
    "bool": (lambda: bool(X), "where(...)"),
    "if": (lambda: 1 if X > 0 else 2, "where(...)"),
    "and": (lambda: (X > 0) and (X < 1), "where(...)"),
    "chained comparison": (lambda: 0 < X < 1, "where(...)"),
    "list": (lambda: list(X), "scan(...)"),
    "for": (lambda: [v for v in ROW], "scan(...)"),
    "unpack": (lambda: print(*X), "scan(...)"),
    "builtin sum": (lambda: sum(X), "scan(...)"),
    "builtin max": (lambda: max(ROW), "scan(...)"),
    "len": (lambda: len(X), ".shape[0]"),
    "in": (lambda: 1.0 in X, "any(x == y)"),
    "in a list": (lambda: gl.exp(X) in [gl.exp(X)], "truth value"),
    "float": (lambda: float(COLUMN), ".eval()"),
    "int": (lambda: int(LABELS), ".eval()"),
    "complex": (lambda: complex(X), ".eval()"),
    "an index of a list": (lambda: [1, 2, 3][LABELS], ".eval()"),  # type: ignore[index]
    "range": (lambda: range(LABELS), ".eval()"),  # type: ignore[arg-type]
    "math": (lambda: math.exp(COLUMN), ".eval()"),
    "np.asarray": (lambda: np.asarray(X), ".eval()"),
    "np.float32": (lambda: np.float32(COLUMN), ".eval()"),  # type: ignore[arg-type]
    "a list of tensors": (lambda: np.array([X, X]), ".eval()"),
    "assignment": (lambda: X.__setitem__(0, 1.0), "where(...)"),
    "np.fft.fft": (lambda: np.fft.fft(X), "np.fft.fft has no symbolic form"),
    "np.linalg.eig": (lambda: np.linalg.eig(X), "np.linalg.eig has no symbolic form"),
    "np.median": (lambda: np.median(X), "np.median has no symbolic form"),
    "np.sort(kind=)": (lambda: np.sort(X, -1, "stable"), "np.sort with kind="),
    "np.sum(initial=)": (lambda: np.sum(X, initial=1), "np.sum with initial="),
    "np.diagonal": (lambda: np.diagonal(X), "np.diagonal has no symbolic form"),
    "np.squeeze": (lambda: np.squeeze(X), "np.squeeze has no symbolic form with these"),
    "np.shape": (lambda: np.shape(X), "np.shape has no symbolic form"),
    "np.gcd": (lambda: np.gcd(X, X), "np.gcd has no symbolic form"),
    "np.add.reduce": (lambda: np.add.reduce(X), "np.add.reduce has no symbolic form"),
    "np.exp(out=)": (lambda: np.exp(X, out=np.zeros(3)), "np.exp with out="),  # type: ignore[call-overload]
    "in place": (lambda: np.zeros(64).__iadd__(ROW), "np.add with out="),
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_a_tensor_is_no_value(name: str) -> None:
    make, hint = SYMBOLIC[name]
    message = failure(TypeError, make)
    assert hint in message
    assert "is symbolic, made at test_errors.py:" in message


def test_unknown_attributes_of_an_op_are_not_swallowed() -> None:
    with pytest.raises(TypeError, match=r"exp\(\) takes x; got 1 operands, where"):
        gl.exp(X, where=MASK)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"exp\(\) takes x; got 2 operands"):
        gl.exp(X, X)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="where"):
        np.sum(X, where=MASK)  # type: ignore[call-overload]


def test_an_error_inside_a_scan_body_names_its_own_line() -> None:
    def body(carry: gl.Tensor, row: gl.Tensor) -> tuple[gl.Tensor, None]:
        return carry + row @ W @ W, None

    message = failure(ValueError, lambda: gl.scan(body, gl.zeros((10,)), X))
    assert "matmul: inner sizes differ: 10 against 64" in message
    assert f"at {here(4)}: `return carry + row @ W @ W, None`" in message


# --- compiling ----------------------------------------------------------------------------------

U = gl.parameter(np.ones((3,), "float32"), name="u")
V = gl.placeholder((3,), name="v")
OTHER_V = gl.placeholder((3,), name="v")

# fmt: off
COMPILING: list[Case] = [
    (lambda: gl.function([V], V, updates={"u": U * 2}), ValueError, "updates are of parameters, but 'u' is none"),  # type: ignore[dict-item]
    (lambda: gl.function([V], V, updates={V: V}), ValueError, "updates are of parameters, but <input v: f32[3]> is none"),  # type: ignore[dict-item]
    (lambda: gl.function([V], V, updates=[U]), ValueError, "updates are a dict of parameter to new value"),  # type: ignore[list-item]
    (lambda: gl.function([V], V, updates=[(U, V), (U, V)]), ValueError, "parameter u is updated twice"),
    (lambda: gl.function([V], V, updates={U: gl.sum(V)}), ValueError, "the update of parameter u: f32[3] is f32[]"),
    (lambda: gl.function([V], V, updates={U: V.astype("float64")}), ValueError, "the update of parameter u: f32[3] is f64[3]"),
    (lambda: gl.function([], V * U), ValueError, "<input v: f32[3]>, made at"),
    (lambda: gl.function([V], None, updates={U: U + COLUMN[0]}), ValueError, "<input column: f32[B]>, made at"),
    (lambda: gl.function([V, V], V), ValueError, "two inputs are called 'v'"),
    (lambda: gl.function([V, OTHER_V], V), ValueError, "two inputs are called 'v'"),
    (lambda: gl.function([V + 1], V), ValueError, "inputs must be placeholders, got <add: f32[3]>"),
    (lambda: gl.function([U], U), ValueError, "inputs must be placeholders, got <parameter u: f32[3]>"),
    (lambda: gl.function([1], U), ValueError, "inputs must be placeholders, got 1"),  # type: ignore[list-item]
    (lambda: gl.function(V, V), ValueError, "inputs are a list of placeholders, got <input v"),  # type: ignore[arg-type]
    (lambda: gl.function([V], "abc"), TypeError, "an output is no tensor: 'abc'"),
    (lambda: gl.function([V], {V}), TypeError, "an output is no tensor: {<input v"),
    (lambda: gl.grad(gl.exp(V), V), ValueError, "the loss must be a scalar, got f32[3]; sum or average it"),
    (lambda: gl.grad(V, V, U[:2]), ValueError, "each cotangent must be typed like its tensor, got f32[2]"),
    (lambda: gl.jvp(V, V, U[:2]), ValueError, "each tangent must be typed like its tensor, got f32[2]"),
    (lambda: gl.grad(gl.sum(V), "v"), ValueError, "a derivative is of a tensor by tensors of its graph, got 'v'"),  # type: ignore[call-overload]
    (lambda: gl.grad([gl.sum(V)], V), ValueError, "a derivative is of a tensor by tensors of its graph, got [<"),  # type: ignore[call-overload]
    (lambda: gl.vmap(lambda a: a, in_axes=(0, 1))(V), ValueError, "in_axes (0, 1) do not fit 1 arguments"),
    (lambda: gl.vmap(lambda a: a, in_axes=4)(V), ValueError, "axis 4 is out of range for 1 dimensions"),
]
# fmt: on


@pytest.mark.parametrize("case", COMPILING, ids=lambda case: case[2])
def test_compiling_names_what_and_where(case: Case) -> None:
    make, kind, what = case
    message = failure(kind, make)
    assert what in message
    assert f"test_errors.py:{make.__code__.co_firstlineno}: `" in message


def test_targets_and_threads() -> None:
    assert "'cpu' or 'cuda', got 'tpu'" in failure(
        ValueError, lambda: gl.function([V], V, target="tpu")
    )
    wrong: list[Any] = [0, -1, "two"]
    for threads in wrong:
        make: Any = lambda n=threads: gl.function([V], V, threads=n)  # noqa: E731
        assert f"threads must be a number >= 1, got {threads!r}" in failure(ValueError, make)


@pytest.mark.skipif(
    importlib.util.find_spec("gradloom.runtime.cuda") is None, reason="no CUDA runtime yet"
)
def test_cuda_without_a_gpu_is_one_clear_error() -> None:
    try:
        gl.function([V], V * 2, target="cuda")
    except gl.GradloomError as error:
        assert "GPU" in str(error) and "\n" not in str(error)
    else:
        pytest.skip("this machine has a GPU")


# fmt: off
NO_PATH: dict[str, tuple[Callable[[], gl.Tensor], str, str]] = {
    "stop_gradient": (lambda: gl.sum(gl.stop_gradient(V) * 2), "stop_gradient", "the user asked for none here"),
    "integer cast": (lambda: gl.sum(V.astype("int64").astype("float32")), "cast", "its result is no float"),
    "floor": (lambda: gl.sum(gl.floor(V)), "floor", "it is a step function: the derivative is zero or undefined"),
    "comparison": (lambda: gl.sum((V > 0).astype("float32")), "greater", "its result is no float"),
    "argmax": (lambda: gl.argmax(V).astype("float32"), "equal", "its result is no float"),
    "as an index": (lambda: gl.sum(gl.take(U, V.astype("int64"))), "cast", "its result is no float"),
}
# fmt: on


@pytest.mark.parametrize("name", NO_PATH)
def test_no_gradient_says_where_the_path_ends(name: str) -> None:
    make, op, why = NO_PATH[name]
    message = failure(ValueError, lambda: gl.grad(make(), V))
    line = f"test_errors.py:{make.__code__.co_firstlineno}"
    assert "no path leads from v to the output" in message
    ends = [text for text in message.splitlines() if text.startswith(f"  {op} at {line}: `")]
    assert ends and ends[0].endswith(why)
    assert f"asked at {here(5)}: `" in message


def test_no_gradient_where_nothing_is_connected() -> None:
    message = failure(ValueError, lambda: gl.grad(gl.sum(V * 2), U))
    assert "no path leads from u to the output" in message
    assert "the output does not depend on u at all" in message
    assert f"asked at {here(3)}" in message


def test_no_gradient_by_one_of_several() -> None:
    message = failure(ValueError, lambda: gl.grad(gl.sum(V * gl.floor(U)), [V, U]))
    assert "no path leads from u" in message and "floor at" in message


def test_no_gradient_by_or_of_integers() -> None:
    message = failure(ValueError, lambda: gl.grad(gl.sum(X), LABELS))
    assert "no derivative by <input labels: i64[B]>, it is no float" in message
    assert f"asked at {here(2)}" in message
    assert failure(ValueError, lambda: gl.grad(gl.sum(LABELS), LABELS))


def test_parts_that_do_have_a_path_are_enough() -> None:
    both = gl.sum(gl.floor(V) + V * 3)
    np.testing.assert_array_equal(gl.function([V], gl.grad(both, V))([1.5, 2, 3]), [3, 3, 3])


GRAPH = gl.function([V], V * U, updates={U: U + V}).graph


def test_compile_names_the_parameter() -> None:
    graph = gl.parse(str(GRAPH))
    assert "no value for parameter u: f32[3]" in failure(ValueError, lambda: gl.compile(graph))
    wrong = {"u": np.ones(4, "float32")}
    assert "parameter u is f32[3], got f32[4]" in failure(
        ValueError, lambda: gl.compile(graph, parameters=wrong)
    )
    more = {"u": np.ones(3, "float32"), "q": 1}
    assert "has no parameter 'q'" in failure(ValueError, lambda: gl.compile(graph, parameters=more))


TEXTS = {
    "": "line 1: expected graph",
    "hello": "line 1: expected graph, found 'hello': hello",
    "graph @a(%x: f32[B": "line 1: ",
    "graph @a(%x: f32[B]) {\n  %0 = foo %x : f32[B]\n  return %0\n}": "line 2: no such op",
    "graph @a(%x: f32[B]) {\n  %0 = exp %y : f32[B]\n  return %0\n}": "line 2: %y is not defined",
    "graph @a(%x: f32[B]) {\n  %0 = exp %x : f32[3]\n  return %0\n}": "line 2: exp gives f32[B]",
    "graph @a(%x: f32[B]) {\n  %0 = add %x : f32[B]\n  return %0\n}": "line 2: add",
    "graph @a(%x: f32[B]) {\n  %0 = sum %x : f32[]\n  return %0\n}": "line 2: sum",
    "graph @a(%x: f32[B]) {\n  %0 = sum %x {axes=(7,)} : f32[B]\n  return %0\n}": "line 2: sum",
    "graph @a(%x: f32[B]) {\n  %0 = exp %x {a=(} : f32[B]\n  return %0\n}": "line 2: attributes",
    "graph @a(%x: f32[B]) {\n  %0 = exp %x : f32[B]\n": "line ",
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_that_is_no_graph_names_the_line(text: str) -> None:
    assert TEXTS[text] in failure(ValueError, lambda: gl.parse(text))


def test_unknown_pass() -> None:
    with pytest.raises(ValueError, match=r"no pass 'tidy'; have .*cse, "):
        gl.run_pass(GRAPH, "tidy")
