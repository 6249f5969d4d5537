# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Which ways a derivative can take through loops and branches, and what is said without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.tensor import Tensor

X = gl.placeholder((3,), "float64", "x")
XS = gl.placeholder((4, 3), "float64", "xs")
W = gl.placeholder((), "float64", "w")
ALONG = gl.constant(1.0, "float64")


def by_until() -> Tensor:
    return gl.sum(gl.scan(lambda c, a: (c + a, a), X, XS, until=lambda c: gl.sum(c) > W)[0])


def by_cond_of_a_bounded_while() -> Tensor:
    return gl.sum(gl.while_loop(lambda c: gl.sum(c) < W, lambda c: c * 2, X, bound=5))


def by_cond_of_a_while() -> Tensor:
    return gl.sum(gl.while_loop(lambda c: gl.sum(c) < W, lambda c: c * 2, X))


def by_a_carry_that_is_asked() -> Tensor:
    def body(c: Any, a: Tensor) -> Any:
        return (c[0] + a, c[1] * 2), None

    return gl.sum(gl.scan(body, (X, W), XS, until=lambda c: c[1] > 3)[0][0])


def in_a_body() -> Tensor:
    return gl.sum(gl.scan(lambda c, a: (gl.where(a > W, c, a), None), X, XS)[0])


def in_a_branch() -> Tensor:
    return gl.sum(gl.cond(gl.sum(X) > 0, lambda: gl.where(X > W, X, -X), lambda: X))


def of_a_branch() -> Tensor:
    return gl.sum(gl.cond(gl.sum(X) > W, lambda: X, lambda: -X))


def in_a_checkpoint() -> Tensor:
    return gl.sum(gl.checkpoint(lambda x: gl.where(x > W, x, -x))(X))


def in_a_nest() -> Tensor:
    def step(c: Tensor, a: Tensor) -> Any:
        return gl.scan(lambda d, _: (d + a, None), c, length=2, until=lambda d: gl.sum(d) > W)

    return gl.sum(gl.scan(step, X, XS)[0])


NO_WAY: dict[Callable[[], Tensor], tuple[str, bool]] = {
    by_until: ("greater", True),
    by_cond_of_a_bounded_while: ("less", True),
    by_cond_of_a_while: ("less", True),
    by_a_carry_that_is_asked: ("greater", True),
    in_a_nest: ("greater", True),
    in_a_body: ("greater", False),
    in_a_branch: ("greater", False),
    of_a_branch: ("greater", False),
    in_a_checkpoint: ("greater", False),
}


@pytest.mark.parametrize("make", NO_WAY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("ask", ["grad", "jvp"])
def test_what_only_a_predicate_reads_has_no_gradient(make: Callable[[], Tensor], ask: str) -> None:
    op, ends_the_loop = NO_WAY[make]
    y = make()
    with pytest.raises(gl.GradientError) as caught:
        gl.grad(y, W) if ask == "grad" else gl.jvp(y, W, ALONG)
    message = str(caught.value)
    assert "no path leads from w to the output" in message
    ends = [line for line in message.splitlines() if line.startswith(f"  {op} at ")]
    assert ends and all("test_loop_paths.py" in end for end in ends), message
    assert "its result is no float" in ends[0]
    assert ("it decides how many steps the loop takes" in ends[0]) == ends_the_loop
    if make is not by_cond_of_a_while:
        gl.function([X, XS, W], gl.grad(y, X))  # by what is carried there is


def test_ways_through_loops_that_there_are() -> None:
    """By way of a carry that another carry reads a step later, an inner loop, a branch, rows."""

    def late(c: Any, a: Tensor) -> Any:
        return (c[0] + a, c[0] * c[2], c[1]), c[1]

    (_, _, last), rows = gl.scan(late, (X, X * 0, gl.broadcast_to(W, (3,))), XS)
    slopes = [gl.grad(gl.sum(last), W), gl.grad(gl.sum(rows), W), gl.grad(gl.sum(rows), XS)]
    found = gl.function([X, XS, W], slopes)(np.ones(3), np.ones((4, 3)), 2.0)
    assert all(np.isfinite(slope).all() and np.any(slope) for slope in found)

    def step(c: Tensor, a: Tensor) -> Any:
        d, _ = gl.scan(
            lambda d, _: (gl.cond(gl.sum(d) > 0, lambda: d * W, lambda: d), None), c, length=2
        )
        return d + a, None

    nested = gl.sum(gl.scan(step, X, XS)[0])
    by_w = gl.function([X, XS, W], [nested, gl.grad(nested, W)])
    feeds = np.ones(3), np.ones((4, 3))
    (_, slope), (up, _), (down, _) = (by_w(*feeds, w) for w in (1.5, 1.5 + 1e-6, 1.5 - 1e-6))
    assert np.isclose(slope, (up - down) / 2e-6, rtol=1e-6)


def test_a_gradient_in_a_body_is_a_way() -> None:
    def step(w: Tensor, _: Any) -> Any:
        return w - W * gl.grad(gl.sum(w**2 * X), w), None

    last, _ = gl.scan(step, X, length=3)
    slope = gl.function([X, W], gl.grad(gl.sum(last), W))(np.ones(3), 0.1)
    assert np.isclose(slope, 3 * 3 * 0.8**2 * -2)


def test_a_loss_that_reads_no_rows() -> None:
    last, rows = gl.scan(lambda c, a: (gl.tanh(c + a), c), X, XS)
    with pytest.raises(gl.GradientError, match="other results of the scan") as caught:
        gl.grad(gl.sum(last), rows)
    assert "gl.gradient_norms" in str(caught.value)


# --- modes ---------------------------------------------------------------------------------------


def root(a: Tensor) -> Tensor:
    return gl.while_loop(lambda s: gl.any(gl.abs(s * s - a) > 1e-13), lambda s: (s + a / s) / 2, a)


A = np.array([1.5, 2.0, 3.0])


def test_the_jacobian_of_a_while_goes_forwards() -> None:
    for y in (root(X), gl.checkpoint(root)(X), gl.cond(X[0] > 0, root, lambda a: a, X)):
        found = gl.function([X], gl.jacobian(y, X))(A)
        assert np.allclose(found, np.diag(0.5 / np.sqrt(A)), atol=1e-7)


def test_the_hessian_of_a_while_goes_forwards() -> None:
    y = gl.sum(root(X) * X[0])
    by_x = gl.function([X], gl.hessian(y, X))(A)
    wanted = np.diag(-0.25 * A**-1.5 * A[0])
    wanted[0] += 0.5 / np.sqrt(A)
    wanted[:, 0] += 0.5 / np.sqrt(A)
    assert np.allclose(by_x, wanted, atol=1e-6)
    blocks = gl.hessian(gl.sum(root(X) * W), {"x": X, "w": W})
    found = gl.function([X, W], blocks)(A, 2.0)
    assert np.allclose(found["x"]["w"], 0.5 / np.sqrt(A), atol=1e-7)
    assert np.allclose(found["w"]["x"], 0.5 / np.sqrt(A), atol=1e-7)
    assert found["w"]["w"] == 0


def clipped(u: Tensor, y: Tensor, a: Tensor) -> Tensor:
    """The rule of a root, which is not linear: there is the mode backwards alone."""
    return gl.clip(u, -2.0, 2.0) / (2 * y)


def test_a_while_that_no_derivative_passes_leaves_the_mode_to_others() -> None:
    """One of integers, and one inside a rule of one's own: three rows of one column go backwards,
    as the rule can alone, although forwards were less."""
    own = gl.custom_derivative(root, vjp=clipped)
    one = gl.placeholder((1,), "float64", "one")
    count = gl.while_loop(lambda n: n < 9, lambda n: n * 2, gl.astype(one[0], "int64"))
    y = gl.concat([own(one)] * 3) * gl.astype(count, "float64")
    found = gl.function([one], gl.jacobian(y, one))(np.array([2.0]))
    assert np.allclose(found, 2.0 / (2 * np.sqrt(2)))  # 16 · u, clipped at 2
