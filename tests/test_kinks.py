# pyright: standard
"""docs/differentiation.md says what derivatives are at kinks: each line of its tables.

And nan stays what it is: no rule and no kernel takes a test for it away.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.rewrite import rewrite
from gradloom.compiler.rules import SIMPLIFY, STABILISE
from gradloom.ir import dtypes as dt
from gradloom.ir.interpret import evaluate_graph
from gradloom.ir.ops.request import pushforward
from gradloom.ir.text import parse

from .rule_examples import EXAMPLES
from .test_rules import FORMULAS, left_of

PAGE = Path(gl.__file__).parent / "docs" / "differentiation.md"
LINES = re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
NAMES = {**vars(gl), "inf": np.inf}


def _value(text: str) -> Any:
    return eval(text, {"inf": np.inf})


def test_the_page_has_tables():
    assert len(LINES) > 30


@pytest.mark.parametrize(("formula", "at", "wanted"), LINES, ids=lambda text: text)
def test_line(formula: str, at: str, wanted: str):
    points = dict(re.findall(r"(\w) = (\[.*?\]|[-\d.]+)", at))
    feeds = [np.array(_value(value), np.float32) for value in points.values()]
    leaves = [
        gl.placeholder(feed.shape, name=name) for name, feed in zip(points, feeds, strict=True)
    ]
    result = eval(formula, {**NAMES, **dict(zip(points, leaves, strict=True))})
    slopes = gl.grad(gl.sum(result), leaves)
    expected = _value(wanted)
    expected = expected if isinstance(expected, tuple) else (expected,)
    # forward, entry by entry: a tangent of 1 there and of 0 elsewhere
    forward: list[Any] = []
    for leaf, feed in zip(leaves, feeds, strict=True):
        for place in np.ndindex(*feed.shape):
            tangent = np.zeros(feed.shape, np.float32)
            tangent[place] = 1
            forward += pushforward([gl.sum(result)], [leaf], [gl.constant(tangent)])
    found = gl.function(leaves, [*slopes, *forward])(*feeds)
    for slope, value in zip(found, expected, strict=False):
        np.testing.assert_allclose(slope, value, 1e-6)
    flat = np.concatenate([np.asarray(value, np.float32).reshape(-1) for value in expected])
    np.testing.assert_allclose(np.array(found[len(leaves) :]), flat, 1e-6)
    interpreted = [slope.eval(dict(zip(leaves, feeds, strict=True))) for slope in slopes]
    for slope, value in zip(interpreted, expected, strict=True):
        if "*" not in formula:  # rules know lengths; the interpreter takes them as written
            np.testing.assert_allclose(slope, value, 1e-6)


# --- nan ------------------------------------------------------------------------------------------

VALUES = np.array([np.nan, 1.0, np.inf, -np.inf, 0.0], np.float32)


def test_tests_for_nan():
    x = gl.placeholder((5,), name="x")
    found = gl.function(
        [x],
        [
            gl.isnan(x),
            gl.not_equal(x, x),
            gl.equal(x, x),
            gl.where(gl.isnan(x), 0.0, x),
            gl.isinf(x * 1.0 + 0.0),
            gl.isfinite(x),
            gl.isnan(x - x),
            gl.isnan(x * 0.0),
        ],
    )(VALUES)
    nan = np.isnan(VALUES)
    infinite = np.isinf(VALUES)
    np.testing.assert_array_equal(found[0], nan)
    np.testing.assert_array_equal(found[1], nan)
    np.testing.assert_array_equal(found[2], ~nan)
    np.testing.assert_array_equal(found[3], np.where(nan, 0, VALUES))
    np.testing.assert_array_equal(found[4], infinite)
    np.testing.assert_array_equal(found[5], ~(nan | infinite))
    np.testing.assert_array_equal(found[6], nan | infinite)
    np.testing.assert_array_equal(found[7], nan | infinite)


STABLE = [rule for rule in FORMULAS if rule in STABILISE and "stop_gradient" not in rule.formula]


def test_nan_goes_through_every_rule():
    """Of nan in every operand each rule of the first table makes nan, where its left side does."""
    for rule in STABLE:
        before = left_of(rule, dt.float32)
        feeds = {
            before.names[leaf]: np.full(
                leaf.shape, np.nan if leaf.dtype.is_float else True, leaf.dtype.numpy
            )
            for leaf in before.inputs
        }
        after, _ = rewrite(before, [rule])
        (left,), (right,) = (evaluate_graph(graph, feeds)["outputs"] for graph in (before, after))
        lost = np.isnan(left) & ~np.isnan(right)
        assert not lost.any(), rule.formula


@pytest.mark.parametrize("formula", EXAMPLES)
def test_nan_goes_through_rules_in_code(formula: str):
    rule = next(rule for rule in (*STABILISE, *SIMPLIFY) if rule.formula == formula)
    for text in EXAMPLES[formula]:
        before = parse(text)
        after, _ = rewrite(before, [rule])
        feeds = {
            before.names[leaf]: np.full(
                [3 if not isinstance(size, int) else size for size in leaf.shape],
                np.nan,
                np.float32,
            )
            for leaf in before.inputs
        }
        (left,), (right,) = (evaluate_graph(graph, feeds)["outputs"] for graph in (before, after))
        assert np.isnan(right[np.isnan(left)]).all(), text
