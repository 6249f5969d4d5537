"""What a user reads about rewriting: which formula, at which lines, and why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import compile_graph
from gradloom.compiler.report import Report, Reports, collected
from gradloom.compiler.rules import STABILISE
from gradloom.ir.graph import Graph
from gradloom.ir.loc import Line
from gradloom.ir.target import Target
from gradloom.ir.tensor import Tensor

HERE = Path(__file__).name
X = gl.placeholder(("B", 4), name="x")


def line() -> int:
    """The number of the calling line."""
    return sys._getframe(1).f_lineno  # pyright: ignore[reportPrivateUsage]


def report_of(*outputs: Tensor) -> Reports:
    return compile_graph(Graph("f", [X], outputs), Target("cpu", 8)).report


def texts(*outputs: Tensor) -> list[str]:
    return [str(report) for report in report_of(*outputs)]


def test_steps_on_the_way_are_one_report_with_all_lines():
    p = gl.exp(X) / gl.sum(gl.exp(X), axis=1, keepdims=True)
    first = line() - 1
    loss = -gl.mean(gl.log(p[:, 0]))
    lines = f"{HERE}:{first}, {HERE}:{first + 2}"
    assert texts(loss) == [f"log-softmax at {lines} (was log, divide, exp, sum)"]
    with_gradient = texts(loss, gl.grad(loss, X))  # rounds and clones find it again
    assert with_gradient == texts(loss)
    with_softmax = texts(loss, p)
    assert with_softmax == [
        f"softmax at {HERE}:{first} (was divide, exp, sum)",
        f"log-softmax at {lines} (was log, divide, exp, sum)",
    ]


Formula = Callable[[Tensor], Tensor]
NAIVE: list[tuple[str, Formula, set[str]]] = [
    ("sigmoid", lambda x: 1 / (1 + gl.exp(-x)), {"divide", "add", "exp", "negative"}),
    ("softplus", lambda x: gl.log(1 + gl.exp(x)), {"log", "add", "exp"}),
    ("logsumexp", lambda x: gl.log(gl.sum(gl.exp(x), 1, keepdims=True)), {"log", "sum", "exp"}),
    ("softmax", lambda x: gl.exp(x) / gl.sum(gl.exp(x), 1, keepdims=True), {"divide", "exp"}),
    ("logaddexp", lambda x: gl.log(gl.exp(x) + gl.exp(2 * x)), {"log", "add", "exp"}),
    ("log1p", lambda x: gl.log(1 + gl.abs(x)), {"log", "add"}),
    ("expm1", lambda x: gl.exp(x) - 1, {"subtract", "exp"}),
    ("log of exp", lambda x: gl.log(gl.exp(x)), {"log", "exp"}),
]


@pytest.mark.parametrize(("name", "build", "was"), NAIVE, ids=[name for name, _, _ in NAIVE])
def test_names_are_the_fields_terms(name: str, build: Formula, was: set[str]):
    tensor = build(X)
    reports = [r for r in report_of(tensor, gl.grad(gl.sum(tensor), X)) if r.rule == name]
    assert len(reports) == 1 and was <= set(reports[0].was)
    assert reports[0].loc == (Line(__file__, build.__code__.co_firstlineno),)


def test_every_stabilising_rule_has_a_name():
    """A term, not a formula."""
    unnamed = [rule.name for rule in STABILISE if set(rule.name) & set("()>*/+=")]
    assert unnamed == []


def test_printed_with_formula_and_reason():
    function = gl.function([X], gl.log(1 + gl.exp(X)))
    here = line() - 1
    formula = "log(1 + exp(x)) -> softplus(x)"
    (rule,) = [rule for rule in STABILISE if rule.formula == formula]
    printed = str(function.report).splitlines()
    assert printed[0] == f"softplus at {HERE}:{here} (was log, add, exp)"
    assert [text.strip() for text in printed[1:]] == [formula, rule.reason]


def test_nothing_to_report_says_so():
    report = gl.function([X], X * 2).report
    assert len(report) == 0 and str(report) == "nothing was rewritten"
    assert not any(report.others)


def test_plain_simplifications_are_apart():
    report = report_of(gl.abs(-X) * 1)
    assert len(report) == 0
    assert {"abs(-x) -> abs(x)", "x * 1 -> x"} <= {other.formula for other in report.others}


def test_inside_a_loop():
    def body(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new = 1 / (1 + gl.exp(-x * carry))
        return new, new

    last, _ = gl.scan(body, gl.zeros((4,)), X)
    (report,) = report_of(gl.grad(gl.sum(last), X))
    here = body.__code__.co_firstlineno + 1
    assert str(report).startswith(f"sigmoid at {HERE}:{here} (was divide, add, exp")


def test_a_loop_of_one_line_is_one_report():
    x: Tensor = X
    for _ in range(20):
        x = gl.log(1 + gl.exp(x * 0.5))
    assert len(report_of(x, gl.grad(gl.sum(x), X))) == 1


def test_collecting_is_linear_enough_and_keeps_what_differs():
    reports = [
        Report("softplus", "log", (Line("a.py", i),), ("log", "add", "exp"), "softplus", "f")
        for i in range(5000)
    ]
    assert len(collected([*reports, *reports], {"f"}, ())) == 5000
    assert len(collected(reports, (), ()).others) == 5000


def test_report_is_of_what_runs():
    """The report names what kept the result finite, and plain arithmetic has none to name."""
    logits = np.full((2, 4), 1e4, np.float32)
    naive = gl.function([X], gl.log(gl.sum(gl.exp(X), axis=1)))
    assert np.isfinite(naive(logits)).all() and [r.rule for r in naive.report] == ["logsumexp"]
