# pyright: standard
"""Whether what a rule made of a graph is as exact as the graph was."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradloom.ir.graph import Graph
from gradloom.ir.interpret import evaluate_graph

from .precise import evaluate_precisely


def assert_as_exact(before: Graph, after: Graph, feeds: dict[str, Any]) -> None:
    """`after` is exact up to rounding, or at most about as far off as `before` is, or as inputs are
    that are rounded; and no infinite value becomes finite."""
    (left,), (right,) = (evaluate_graph(graph, feeds)["outputs"] for graph in (before, after))
    assert left.shape == right.shape
    assert left.dtype == right.dtype
    if left.dtype.kind != "f":
        assert np.array_equal(left, right)
        return
    (exact,) = evaluate_precisely(before, feeds)
    finfo = np.finfo(left.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        wide = right.astype(np.longdouble)
        own = np.abs(left.astype(np.longdouble) - exact)
        allowed = 64 * finfo.eps * np.abs(exact) + 4 * own + finfo.smallest_normal
        bad = np.isfinite(left) & np.isfinite(exact) & ~(np.abs(wide - exact) <= allowed)
        if bad.any():
            allowed += 16 * _moved(before, feeds, exact) + 4 * _error_near(before, feeds)
            bad &= ~(np.abs(wide - exact) <= allowed)
        bad |= (
            np.isinf(left) & np.isinf(exact) & np.isfinite(wide) & _are_moderate(feeds, left.shape)
        )
    assert not bad.any(), (
        f"{bad.sum()} values: left {left[bad][:4]} right {right[bad][:4]} exact {exact[bad][:4]}"
    )


def _are_moderate(feeds: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """Where an exact value is infinite because an input is, and not for want of range."""
    found: Any = np.ones(shape, bool)
    for values in feeds.values():
        if values.dtype.kind == "f":
            is_fine = (np.abs(values) <= 20) | np.isinf(values)
            is_fine &= (np.abs(values) >= 1e-4) | (values == 0)
            try:
                found = found & np.broadcast_to(is_fine, shape)
            except ValueError:  # not element by element
                found = found & is_fine.all()
    return found


def _error_near(graph: Graph, feeds: dict[str, Any]) -> Any:
    """How far off `graph` is at inputs near by: its own rounding may be small by luck."""
    rng, found = np.random.default_rng(0), []
    for _ in range(6):
        near = {
            name: (v * rng.uniform(0.99, 1.01, v.shape)).astype(v.dtype)
            if v.dtype.kind == "f"
            else v
            for name, v in feeds.items()
        }
        (exact,) = evaluate_precisely(graph, near)
        error = np.abs(evaluate_graph(graph, near)["outputs"][0].astype(np.longdouble) - exact)
        found.append(np.where(np.isfinite(error), error, 0))
    return np.max(found, axis=0)


def _moved(graph: Graph, feeds: dict[str, Any], exact: Any) -> Any:
    """How far one step of each input, to the next number of its dtype, moves the exact value; at
    least by what `evaluate_precisely` is unsure of."""
    moved = 16 * float(np.finfo(np.float64).eps) * np.ones_like(exact)
    for name, values in feeds.items():
        if values.dtype.kind == "f":
            for towards in (np.inf, -np.inf):
                step = np.nextafter(values, values.dtype.type(towards))
                step = np.where(np.isfinite(values) & np.isfinite(step), step, values)
                (other,) = evaluate_precisely(graph, {**feeds, name: step})
                moved = np.fmax(moved, np.abs(other - exact))
    return np.where(np.isfinite(moved), moved, 0)


def feeds_of_size(graph: Graph, size: int, among: list[float] | None) -> dict[str, Any]:
    rng: Any = np.random.default_rng(size)
    feeds: dict[str, Any] = {}
    for leaf in graph.inputs:
        shape = [n if isinstance(n, int) else size for n in leaf.shape]
        values: Any = rng.normal(size=shape)
        if not leaf.dtype.is_float:
            values = rng.integers(0, 4, shape)
        elif among is not None:
            values = np.where(rng.random(shape) < 0.7, rng.choice(among, shape), values)
        feeds[graph.names[leaf]] = np.asarray(values).astype(leaf.dtype.numpy)
    return feeds
