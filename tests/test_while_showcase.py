# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (loops over structures)
"""Loops that end where they like: the Mandelbrot set a pixel at a time, and Newton's iterations,
against NumPy and closed forms."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.errors import CheckError, GradientError
from gradloom.ir.tensor import Tensor

Array = np.ndarray[Any, Any]
Scalar = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def mandelbrot() -> Any:
    path = Path(__file__).parents[1] / "examples" / "mandelbrot.py"
    spec = importlib.util.spec_from_file_location("mandelbrot", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def counts_of(real: Array, imaginary: Array, most: int) -> Array:
    """How long each c = real + i · imaginary stays, one after the other."""
    counts = np.zeros((len(imaginary), len(real)), np.int64)
    for place in np.ndindex(*counts.shape):
        a, b = real[place[1]], imaginary[place[0]]
        x = y = 0.0
        while x * x + y * y <= 4 and counts[place] < most:
            x, y = x * x - y * y + a, 2 * x * y + b
            counts[place] += 1
    return counts


# --- Mandelbrot ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["by_vmap", "by_scan"])
def test_mandelbrot(mandelbrot: Any, way: str) -> None:
    """Each pixel's count; on the border of the set a last bit may decide, hence nearly all."""
    real = gl.placeholder(("columns",), "float64", "real")
    imaginary = gl.placeholder(("rows",), "float64", "imaginary")
    counts = getattr(mandelbrot, way)(real, imaginary)
    function = gl.function([real, imaginary], counts)
    for rows, columns in ((21, 30), (1, 1), (0, 5), (4, 1)):
        points: tuple[Array, Array] = mandelbrot.grid(rows, columns)
        wanted = counts_of(points[0], points[1], mandelbrot.MOST)
        interpreted = counts.eval({"real": points[0], "imaginary": points[1]})
        found = function(*points)
        assert found.shape == wanted.shape and found.dtype == np.int64
        np.testing.assert_array_equal(interpreted, wanted)
        assert np.mean(found != wanted) <= 0.005 if wanted.size else True
        if (rows, columns) == (21, 30):
            assert 0.1 < np.mean(wanted == mandelbrot.MOST) < 0.5


def test_one_point(mandelbrot: Any) -> None:
    """Without vmap: 0 never leaves, 2 + 2i at once, 1 after |0| |1| |2|, 5."""
    points = gl.placeholder((), "float64", "a"), gl.placeholder((), "float64", "b")
    function = gl.function(list(points), mandelbrot.escape_time(*points))
    for (a, b), wanted in {(0, 0): 100, (2, 2): 1, (1, 0): 3, (-2, 0): 100, (0.3, 0.6): 15}.items():
        assert int(function(float(a), float(b))) == wanted


def test_the_example_prints_a_picture(mandelbrot: Any, capsys: pytest.CaptureFixture[str]) -> None:
    counts = mandelbrot.main()
    *rows, told = capsys.readouterr().out.splitlines()
    assert len(rows) == mandelbrot.ROWS
    assert {len(row) for row in rows} == {mandelbrot.COLUMNS}
    shades = np.array([list(row) for row in rows])
    assert ((shades == "@") == (counts == mandelbrot.MOST)).all()
    assert "inside" in told
    np.testing.assert_array_equal(counts, counts[::-1])  # c and its conjugate


# --- Newton's iterations -------------------------------------------------------------------------


def root(f: Scalar, start: Tensor, bound: int | None = None) -> Tensor:
    """A zero of f, by Newton's iterations until a step is of the size of rounding."""

    def goes_on(state: Any) -> Tensor:
        x, moved = state
        return abs(moved) > 1e-14 * (1 + abs(x))

    def step(state: Any) -> Any:
        x, _ = state
        moved = f(x) / gl.grad(f(x), x)
        return x - moved, moved

    return gl.while_loop(goes_on, step, (start, gl.ones_like(start)), bound=bound)[0]


# name: f(x, c), a start, values of c, ∂f/∂x and ∂f/∂c at the root
PROBLEMS: dict[str, Any] = {
    "x² = c": (
        lambda x, c: x * x - c,
        lambda c: gl.ones_like(c),
        [0.25, 1.0, 2.0, 9.0, 1e4],
        lambda x, c: 2 * x,
        lambda x, c: -1.0,
    ),
    "cos x = c x": (
        lambda x, c: gl.cos(x) - c * x,
        lambda c: gl.ones_like(c),
        [0.5, 1.0, 3.0],
        lambda x, c: -np.sin(x) - c,
        lambda x, c: -x,
    ),
}
EXACT: dict[str, Callable[[float], float]] = {"x² = c": np.sqrt}


@pytest.mark.parametrize("bound", [None, 60], ids=["while", "bounded"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_newton(name: str, bound: int | None) -> None:
    """The root, and ∂x/∂c = − ∂f/∂c ÷ ∂f/∂x by the implicit function theorem: through the loop
    forwards, and backwards where it has a bound."""
    f, start, cs, by_x, by_c = PROBLEMS[name]
    c = gl.placeholder((), "float64", "c")
    x = root(lambda x: f(x, c), start(c), bound)
    wanted = [x, gl.jvp(x, [c], [gl.constant(1.0, "float64")])]
    if bound is not None:
        wanted.append(gl.grad(x, c))
    function = gl.function([c], wanted)
    for value in cs:
        found = function(value)
        interpreted = [t.eval({"c": value}) for t in wanted]
        at = float(found[0])
        if name in EXACT:
            np.testing.assert_allclose(at, EXACT[name](value), 1e-14)
        else:
            assert abs(np.cos(at) - value * at) < 1e-14
        slope = -by_c(at, value) / by_x(at, value)
        np.testing.assert_allclose(found[1:], slope, 1e-9)
        np.testing.assert_allclose(interpreted, found, 1e-12)


def test_roots_of_many() -> None:
    """A loop for all entries, which goes on while one of them needs it; with derivatives."""
    c = gl.placeholder(("N",), "float64", "c")
    c0 = gl.placeholder((), "float64", "c0")
    one = gl.vmap(lambda c: root(lambda x: x * x - c, gl.ones_like(c)))
    roots = one(c)
    slopes = gl.jvp(roots, [c], [gl.ones_like(c)])
    function = gl.function([c], [roots, slopes])
    single = gl.function([c0], root(lambda x: x * x - c0, gl.ones_like(c0)))
    for values in ([2.0, 1.0, 1e6, 0.01], [5.0], []):
        array = np.array(values)
        found = function(array)
        np.testing.assert_allclose(found[0], np.sqrt(array), 1e-14)
        np.testing.assert_allclose(found[1], 0.5 / np.sqrt(array), 1e-9)
        for entry, value in zip(found[0], values, strict=True):
            np.testing.assert_allclose(entry, single(value), 1e-15)


def test_what_does_not_converge() -> None:
    """x² = −1 has no root: the bound ends the call, with an error; and no way back without one."""
    c = gl.placeholder((), "float64", "c")
    x = root(lambda x: x * x - c, gl.ones_like(c) * 0.7, 40)
    with pytest.raises(CheckError, match="not ended after 40 steps"):
        gl.function([c], x)(-1.0)
    free = root(lambda x: x * x - c, gl.ones_like(c))
    with pytest.raises(GradientError, match="bound"):
        gl.function([c], gl.grad(free, c))
