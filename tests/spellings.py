# pyright: standard
"""Draws spellings of naive formulas: what a stranger might write who knows only the families.

A spelling is one of the CORES, whose operand X is something simple made of the inputs, with
something harmless done to the result, and every operation in between spelled one of the ways that
algebra allows: another order, -1 times instead of minus, a reciprocal instead of a quotient, …
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradloom.benchmarks.expressions import Expression

TINY = 2.0**-100
LOGITS: list[Any] = [
    [[1e4, 0.0, -1e4], [-1e4, 100.0, 1e4]],
    [[100.0, 101.0, 99.0], [-100.0, -101.0, -99.5]],
    [[-1e4, -9999.0, -9998.0], [1e4, 9999.0, 9998.5]],
    [[0.5, -0.25, 2.0**-10], [0.0, TINY, -2.0]],
    [[12.0, -3.0, 0.5], [-1.0, 0.25, 10.0]],
]
SCALARS = [[[-1e4, -100.0, -20.0], [-3.0, -0.5, 88.0]], [[0.25, 2.0, 17.0], [30.0, 100.0, 1e4]]]
MODEST = [
    [[-20.0, -3.0, -0.5], [-(2.0**-12), TINY, 0.0]],
    [[2.0**-20, 0.25, 2.0], [5.0, 1.0, 10.0]],
]
POSITIVE = [[[TINY, 2.0**-20, 0.25], [1.0, 3.0, 20.0]], [[1e4, 1e8, 0.5], [100.0, 17.0, 1e6]]]
SIGNED = [[[-1e4, -1.0, -TINY], [0.0, TINY, 0.25]], [[4.0, 0.0, 1e4], [0.0, 0.0, 9.0]]]
VECTORS = [
    [[3.0, -4.0, 12.0], [0.0, 1.0, 0.0]],
    [[1e30, -2e30, 1e29], [-1e30, 1e30, 3e30]],
    [[1e-30, -2e-30, 5e-30], [1e-30, 0.0, 0.0]],
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
]
NOISE = [[[10000.25, 9999.5, 10001.0], [-9999.0, -10000.5, -10000.25]], LOGITS[3]]
LIKELY = [[[0.5, 0.5, 0.0], [TINY, 0.25, 0.75]], [[1.0, 0.0, 0.0], [0.125, 0.25, 0.625]]]
DATA: dict[str, Any] = {
    "y": [[0.25, -1.0, 0.5], [2.0, 0.0, -0.75]],
    "t": [[0.0, 1.0, 0.0], [0.5, 0.25, 0.25]],
    "w": [[1.0, 2.0, 0.5], [0.25, 1.0, 4.0]],
    "m": [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]],
    "i": [1, 2],
    "q": [[0.25, 0.5, 0.25], [0.5, 0.125, 0.375]],
}

# What X stands for, by what it may do to the domain; all exact in float32 at the inputs above.
VIEWS = ["x", "x", "x[:, ::-1]", "float32(float64(x))", "reshape(reshape(x, (3, 2)), (2, 3))"]
VIEWS += ["transpose(transpose(x))", "concat([x[:, :1], x[:, 1:]], 1)", "where(m >= 0, x, y)"]
SCALED = [*VIEWS, "2 * x", "x / 4", "x * w", "0.5 * x", "(x + x)", "x / 0.5"]
SHIFTED = [*SCALED, "-x", "(x + y)", "(x - y)", "(3 - x)", "-2 * x", "(1 + x)", "-(x / 2)"]
SHIFTED += ["(x * 2 + y)", "maximum(x, y)", "where(m > 0, x, y)", "matmul(x, r)"]
WAYS = {"views": VIEWS, "scaled": SCALED, "any": SHIFTED}

ENTRIES_AFTER = ["C", "C", "-C", "2 * C", "C / 4", "C * w", "where(m > 0, C, 0.0)", "m * C"]
ENTRIES_AFTER += ["transpose(C)", "reshape(C, (6,))", "C[:1]", "C[:, ::2]", "float64(C)"]
ROWS_AFTER = ["C", "-C", "2 * C", "C / 4", "float64(C)"]
SUM_AFTER = [*ROWS_AFTER, "sum(C)", "-mean(C)", "mean(C) / 2"]
AFTER = {"entries": ENTRIES_AFTER, "rows": ROWS_AFTER, "sum": SUM_AFTER}


@dataclass(frozen=True)
class Core:
    """A naive formula of X, `kind` elementwise or of rows.

    ways: what X may be.  after: what may be done to the result; sums only where it has one sign.
    """

    family: str
    text: str
    cases: Sequence[Any]
    ways: str = "any"
    kind: str = "elementwise"
    after: str = "entries"
    truth: str = ""


def _cores(family: str, cases: Sequence[Any], *texts: str, **more: Any) -> list[Core]:
    return [Core(family, text, cases, **more) for text in texts]


_P = "(exp(X) / sum(exp(X), 1, keepdims=True))"
_C = "X - max(X, 1, keepdims=True)"
_S = "(1 / (1 + exp(-X)))"
CORES = [
    *_cores(
        "softmax",
        LOGITS,
        _P,
        f"exp({_C}) / sum(exp({_C}), 1, keepdims=True)",
        "exp(X) / (1 + sum(exp(X), 1, keepdims=True))",
        "w * exp(X) / sum(w * exp(X), 1, keepdims=True)",
        "m * exp(X) / sum(m * exp(X), 1, keepdims=True)",
        "exp(X) / sum(exp(X))",
        "exp(X) / sum(exp(X), (0, 1), keepdims=True)",
        "exp(X) / sum(exp(X), 0, keepdims=True)",
        kind="rows",
    ),
    *_cores(
        "log-softmax",
        LOGITS,
        f"log({_P})",
        "X - log(sum(exp(X), 1, keepdims=True))",
        f"log({_P})[arange(2), i]",
        f"log({_P}[arange(2), i])",
        f"log(sum(t * {_P}, 1))",
        f"sum(t * log({_P}), 1)",
        f"sum(w * t * log({_P}))",
        f"take_along_axis(log({_P}), i[:, None], 1)",
        f"{_P} * log({_P})",
        f"sum({_P} * (log({_P}) - log(q)), 1)",
        kind="rows",
        after="sum",
    ),
    *_cores(
        "logsumexp",
        LOGITS,
        "log(sum(exp(X), 1))",
        "log(mean(exp(X), 1, keepdims=True))",
        f"max(X, 1, keepdims=True) + log(sum(exp({_C}), 1, keepdims=True))",
        "log(sum(w * exp(X), 1))",
        "log(1 + sum(exp(X), 0))",
        "log(exp(X[:, 0]) + exp(X[:, 1]))",
        "log(exp(X[:, 0]) + exp(X[:, 1]) + exp(X[:, 2]))",
        "log(sum(exp(X)))",
        "log(sum(where(m > 0, exp(X), 0.0), 1))",
        kind="rows",
        after="rows",
    ),
    *_cores(
        "sigmoid",
        SCALARS,
        _S,
        "exp(X) / (1 + exp(X))",
        "1 - 1 / (1 + exp(X))",
        "(1 + tanh(X / 2)) / 2",
        "X / (1 + exp(-X))",
        "exp(-X) / (1 + exp(-X))",
        "1 / (1 + 2 * exp(-X))",
        "2 / (1 + exp(-2 * X)) - 1",
        f"{_S} * (1 - {_S})",
        "1 / (1 + exp(-X)) ** 2",
    ),
    *_cores(
        "softplus",
        SCALARS,
        "log(1 + exp(X))",
        "log1p(exp(X))",
        "log(1 + exp(-X))",
        "log(1 + exp(2 * X)) / 2",
        f"log({_S})",
        f"log1p(exp(X)) * {_S}",
        "log(exp(X) + exp(-X))",
        "X * tanh(log(1 + exp(X)))",
    ),
    Core("softplus", f"log(1 - {_S})", SCALARS, truth="-log1p(exp(X))"),
    Core("softplus", "X - log(1 + exp(X))", SCALARS, truth="-log1p(exp(-X))"),
    Core(
        "binary cross-entropy",
        f"-(t * log({_S}) + (1 - t) * log(1 - {_S}))",
        SCALARS,
        kind="rows",
        after="sum",
        truth="t * log1p(exp(-X)) + (1 - t) * log1p(exp(X))",
    ),
    *_cores(
        "hyperbolic",
        SCALARS,
        "(exp(X) - exp(-X)) / (exp(X) + exp(-X))",
        "(exp(2 * X) - 1) / (exp(2 * X) + 1)",
        "(1 - exp(-2 * X)) / (1 + exp(-2 * X))",
        "2 / (exp(X) + exp(-X))",
        "1 / cosh(X)",
        "sinh(X) / cosh(X)",
        "log(cosh(X))",
        "1 - tanh(X) ** 2",
        "log((exp(X) + exp(-X)) / 2)",
    ),
    *_cores(
        "expm1",
        MODEST,
        "exp(X) - 1",
        "1 - exp(-X)",
        "exp(2 * X) - 1",
        "(exp(X) - exp(-X)) / 2",
        "cosh(X) - 1",
        ways="scaled",
    ),
    *_cores("log1p", POSITIVE, "log(1 + X)", "log(1 + X * X)", "log(1 + 2 * X)", ways="scaled"),
    *_cores("log1p", LIKELY, "log(1 - X / 2)", "log((2 + X) / (2 - X))", ways="views"),
    *_cores(
        "probabilities",
        LIKELY,
        "sum(X * log(X), 1)",
        "sum(t * log(X), 1)",
        "sum(X * (log(X) - log(q)), 1)",
        "sum(X * log(X / q), 1)",
        "sum(t * w * log(X))",
        "log(X)[arange(2), i]",
        "sum(q * log(q / (X + q)) + X * log(X / (X + q)), 1)",
        ways="views",
        kind="rows",
        after="sum",
    ),
    *_cores(
        "variance",
        NOISE,
        "mean(X * X, 1) - mean(X, 1) ** 2",
        "mean(X**2, 1, keepdims=True) - mean(X, 1, keepdims=True) ** 2",
        "(sum(X**2, 1) - sum(X, 1) ** 2 / 3) / 2",
        "sum(X**2, 1) / 3 - (sum(X, 1) / 3) ** 2",
        "mean(X**2) - mean(X) ** 2",
        "sqrt(mean(X**2, 1) - mean(X, 1) ** 2)",
        ways="scaled",
        kind="rows",
        after="sum",
    ),
    *_cores(
        "norm",
        VECTORS,
        "sqrt(sum(X**2, 1))",
        "sqrt(sum(X * X, 0, keepdims=True))",
        "sqrt(mean(X**2))",
        "sqrt(X[:, 0] ** 2 + X[:, 1] ** 2)",
        "sqrt(sum(abs(X) ** 2, 1, keepdims=True))",
        ways="scaled",
        kind="rows",
        after="sum",
    ),
    *_cores(
        "norm", VECTORS[:3], "X / sqrt(sum(X**2, 1, keepdims=True))", ways="scaled", kind="rows"
    ),
    *_cores(
        "branches",
        SIGNED,
        "where(X > 0, sqrt(X), 0.0)",
        "where(X > 0, log(X), 0.0)",
        "where(X > 0, 1 / X, 0.0)",
        "where(X > 0, X**1.5, -X)",
        "where(X > 0, sqrt(X) * log(X), 1.0)",
        "where(X > 0, X * log(X), where(X < -1, sqrt(-X), 0.0))",
        "where(X < 80, exp(X), 0.0)",
        "where(abs(X) > 0, X / abs(X), 0.0)",
        "where(X > 0, sqrt(where(X > 0, X, 1.0)), 0.0)",
        ways="scaled",
    ),
    *_cores("differences", MODEST, "1 - cos(X)", "cos(X) - 1", "1 - cos(2 * X)", ways="scaled"),
    *_cores(
        "differences",
        POSITIVE,
        "sqrt(X + 1) - sqrt(X)",
        "sqrt(1 + X) - 1",
        "1 / (sqrt(X + 1) - sqrt(X))",
        "sqrt(X * X + 1) - X",
        "1 / X - 1 / (1 + X)",
        ways="views",
    ),
    *_cores(
        "error function",
        [[[-1e4, -12.0, -5.0], [-0.5, 0.0, TINY]], [[0.25, 2.0, 5.0], [8.0, 100.0, 1e4]]],
        "1 - erf(X)",
        "1 + erf(X)",
        "0.5 * (1 + erf(X / root2))",
        "0.5 * X * (1 + erf(X / root2))",
        ways="views",
    ),
]


def spelling(seed: int, plain: bool = False) -> tuple[Expression, str]:
    """Spelling number `seed`, and the core that it is one of; `plain`: with nothing around it."""
    rng = np.random.default_rng(seed)
    core = CORES[seed % len(CORES)]
    x = "x" if plain else str(rng.choice(WAYS[core.ways]))
    after = "C" if plain else str(rng.choice(AFTER[core.after]))
    text = after.replace("C", f"({core.text.replace('X', f'({x})')})")
    truth = after.replace("C", f"({core.truth.replace('X', f'({x})')})") if core.truth else ""
    tree = ast.parse(text, mode="eval")
    text = ast.unparse(ast.fix_missing_locations(Respell(rng).visit(tree)))
    data = DATA | {"r": [[1.0, 0.0, 1.0], [0.0, 2.0, 0.0], [0.0, -1.0, 0.5]]}
    cases = [{"x": case, **data} for case in core.cases]
    alone = core.kind == "elementwise" and "matmul" not in x
    return Expression(core.family, text, cases, alone=alone, truth=truth), core.text


class Respell(ast.NodeTransformer):
    """Some of the operations of a formula spelled otherwise, drawn from `rng`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def pick(self, node: ast.expr, *others: str, **parts: ast.expr) -> ast.expr:
        """`node`, as often as not, or one of `others` with the names in it replaced."""
        if self.rng.random() < 0.6 or not others:
            return node
        tree = ast.parse(str(self.rng.choice(others)), mode="eval").body
        return Fill(parts).visit(tree)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        a, b = node.left, node.right
        match node.op:
            case ast.Add():
                return self.pick(node, "b + a", "a - -b", a=a, b=b)
            case ast.Sub():
                return self.pick(node, "-b + a", "a + -b", "-(b - a)", "a - 1 * b", a=a, b=b)
            case ast.Mult():
                return self.pick(node, "b * a", "b * a", a=a, b=b)
            case ast.Div():
                return self.pick(node, "a * (1 / b)", "1 / b * a", "a * b ** -1", a=a, b=b)
            case ast.Pow() if isinstance(b, ast.Constant) and b.value == 2:
                return self.pick(node, "a * a", a=a)
            case _:
                return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.operand, ast.Constant):
            return node
        return self.pick(node, "-1 * a", "0 - a", "a * -1.0", a=node.operand)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name, first = ast.unparse(node.func), node.args[0]
        if name == "sqrt":
            return self.pick(node, "a ** 0.5", a=first)
        if name == "exp" and isinstance(first, ast.UnaryOp):
            return self.pick(node, "1 / exp(a)", "exp(a) ** -1", a=first.operand)
        if name in ("sum", "max", "mean") and node.keywords and ast.unparse(node.args[1]) == "1":
            without = ast.Call(node.func, node.args, [])
            return self.pick(node, "a[:, None]", "reshape(a, (2, 1))", a=without)
        if name in ("exp", "log", "sum") and not node.keywords and self.rng.random() < 0.15:
            return self.pick(node, "float32(float64(a))", "a * 1", "a + 0", a=node)
        return node


class Fill(ast.NodeTransformer):
    """Puts expressions in the place of names."""

    def __init__(self, parts: dict[str, ast.expr]) -> None:
        self.parts = parts

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.parts[node.id]) if node.id in self.parts else node
