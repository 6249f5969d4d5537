"""Function.memory says how many bytes a call takes: exactly those that it allocates."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import ArgumentError

F32 = np.float32


def network(batch: int | str = 64, layers: int = 6, width: int = 128) -> gl.Function:
    rng = np.random.default_rng(0)
    x = gl.placeholder((batch, width), "float32", "x")
    y = gl.placeholder((batch, width), "float32", "y")
    draw = rng.standard_normal((layers, width, width)).astype(F32) / 12
    weights = [gl.parameter(value, f"w{i}") for i, value in enumerate(draw)]
    value = x
    for weight in weights:
        value = gl.tanh(value @ weight)
    loss = gl.mean(gl.square(value - y))
    return gl.function([x, y], [loss, *gl.grad(loss, weights)])


def arena(function: gl.Function) -> Any:
    """The bytes of the block of the one context that calls have left."""
    executable: Any = function._executable  # pyright: ignore[reportPrivateUsage]
    (instance,) = executable.instances.values()
    (context,) = instance.contexts
    return context.arena.nbytes


def arrays(batch: int) -> list[Any]:
    return [np.ones((batch, 128), F32), np.zeros((batch, 128), F32)]


def test_the_call_allocates_what_was_predicted() -> None:
    function = network()
    predicted = function.memory()
    function(*arrays(64))
    assert arena(function) == predicted.total > 6 * 64 * 128 * 4
    assert predicted.live <= predicted.total <= 1.1 * predicted.live
    assert sum(row.bytes for row in predicted.rows) == predicted.live
    assert predicted.results == 4 + 6 * 128 * 128 * 4
    assert predicted.inputs == 2 * 64 * 128 * 4 and predicted.parameters == 6 * 128 * 128 * 4


@pytest.mark.parametrize("batch", [0, 1, 200])
def test_each_binding_of_the_sizes(batch: int) -> None:
    function = network("B")
    predicted = function.memory(B=batch)
    given = arrays(batch)
    assert function.memory(given[0]) == function.memory(*given) == predicted
    assert function.memory(y=given[1]) == predicted
    function(*given)
    assert arena(function) == max(predicted.total, 64)


def test_a_first_call_takes_results_and_temporaries_and_little_else() -> None:
    function = network("B")
    function(*arrays(1))  # kernels are compiled and loaded
    given = arrays(1024)
    predicted = function.memory(B=1024)
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()
        results = function(*given)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    needed = predicted.total + sum(value.nbytes for value in results)
    assert needed <= peak - start < needed + 100_000


def test_the_table_names_ops_and_lines() -> None:
    x = gl.placeholder(("B", 100), "float32", "x")
    w = gl.parameter(np.ones((100, 50), F32), "w")
    hidden = gl.tanh(x @ w)
    loss = gl.sum(hidden @ gl.exp(hidden.T @ hidden))
    function = gl.function([x], [loss, gl.grad(loss, w)])
    told = function.memory(B=32)
    (row,) = [row for row in told.rows if row.op == "tanh"]
    assert row.bytes == 32 * 50 * 4 and row.type == "f32[B,50]"
    assert str(row.loc[0]).startswith("test_memory.py:")
    assert [r.bytes for r in told.rows] == sorted((r.bytes for r in told.rows), reverse=True)
    text = str(told)
    assert "tanh" in text and "test_memory.py:" in text and "6.25 KiB" in text
    assert "inputs 12.5 KiB" in text


def test_nothing_lives_where_all_goes_to_the_result() -> None:
    x = gl.placeholder((8,), "float32", "x")
    told = gl.function([x], gl.exp(x)).memory()
    assert (told.total, told.live, told.rows) == (0, 0, ())
    assert "0 B of temporaries" in str(told)


def test_errors() -> None:
    x = gl.placeholder(("A", "B"), "float32", "x")
    y = gl.placeholder(("B",), "float32", "y")
    function = gl.function([x, y], gl.exp(x) @ gl.exp(y))
    assert function.memory(A=2, B=3).inputs == 4 * (6 + 3)
    with pytest.raises(ArgumentError, match=r"size of A is not known; say A=128"):
        function.memory(B=3)
    with pytest.raises(ArgumentError, match=r"no size or input 'C'; have A, B, x, y"):
        function.memory(A=1, B=2, C=3)
    with pytest.raises(ArgumentError, match="3 arrays for 2 inputs"):
        function.memory(1, 2, 3)
    with pytest.raises(gl.GradloomError, match="must be"):
        function.memory(np.ones(3))
    with pytest.raises(gl.GradloomError, match="B is given as 4 and as 3"):
        function.memory(np.ones((2, 3)), B=4)
    with pytest.raises(ArgumentError, match="no size or input 'A'"):
        function.memory(A=-1, B=2)
