# pyright: standard
"""The stability table: naive formulas, here and in other frameworks, against exact values.

    python benchmarks/stability.py                 all rows and systems; writes docs/stability.md
    python benchmarks/stability.py --only softmax --systems gradloom      prints some

Of each row the worst error of the value and of the gradient is taken, over all its inputs, relative
to the exact value (to the largest entry, where the formula is not element-wise).  What is exactly
infinite, undefined, or beyond float32 is not judged; where the mathematics has a value and a system
has none, "nan" or "inf" stands.  The exit status says whether ours met the bar everywhere.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

from gradloom.benchmarks.cancellations import CANCELLATIONS
from gradloom.benchmarks.exact import Truth
from gradloom.benchmarks.exponentials import EXPONENTIALS
from gradloom.benchmarks.expressions import Expression
from gradloom.benchmarks.models import MODELS
from gradloom.benchmarks.systems import SYSTEMS, Runner, installed

TABLE = [*EXPONENTIALS, *CANCELLATIONS, *MODELS]
BAR = 1e-5
DIGITS = 100
LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).tiny)  # an error below this is none: float32 ends there
PAGE = Path(__file__).parents[1] / "docs" / "stability.md"

Errors = tuple[float, float]  # of the value and of the gradient


def error(found: Any, exact: Any, alone: bool, scale: Any = None) -> float:
    """The largest error of `found`, relative to the entry, or (not `alone`) to the largest one, or
    to its entry in `scale`; inf or nan where `found` is that and the exact entry is not."""
    found, exact = np.asarray(found), np.asarray(exact, object)
    if found.shape != exact.shape:
        raise ValueError(f"shape {found.shape}, but {exact.shape} is right")
    judged = [
        (float(ours), truth, size)
        for ours, truth, size in zip(
            found.flat, exact.flat, np.asarray(exact if scale is None else scale).flat, strict=True
        )
        if mp.isfinite(truth) and abs(truth) <= LARGEST
    ]
    largest = max((abs(size) for _, _, size in judged), default=mp.mpf(0))
    worst = 0.0
    for ours, truth, size in judged:
        if not np.isfinite(ours):
            return abs(ours)
        apart = abs(mp.mpf(ours) - truth)
        if apart > SMALLEST:
            against = abs(size) if alone else largest
            worst = max(worst, float(min(apart / against, mp.mpf(1e30))) if against else 1e30)
    return worst


def weights(shape: tuple[int, ...]) -> Any:
    """What the value's entries are multiplied by before they are summed and differentiated."""
    count = int(np.prod(shape))
    return np.resize(np.array([1.0, -0.5, 2.0, 0.25, -1.0], np.float32), count).reshape(shape)


def truth_of(row: Expression, inputs: Mapping[str, Any]) -> Truth:
    return Truth(row.exact, inputs, row.by(inputs), DIGITS)


def worse(a: float, b: float) -> float:
    return b if b > a or b != b else a  # nan is the worst


def judge(row: Expression, systems: list[str]) -> dict[str, Errors | str]:
    """Errors of each system; or why it gives none."""
    found: dict[str, Errors | str] = {}
    cases = [row.arrays(case) for case in row.cases]
    truths = [truth_of(row, inputs) for inputs in cases]
    for system in systems:
        try:
            found[system] = _judge(row, system, cases, truths)
        except Exception as problem:
            text = str(problem).strip().splitlines() or [""]
            found[system] = f"{type(problem).__name__}: {text[0][:100]}"
    return found


def _judge(
    row: Expression, system: str, cases: list[dict[str, Any]], truths: list[Truth]
) -> Errors:
    by = row.by(cases[0])
    runners: dict[Any, Runner] = {}
    value_error = gradient_error = 0.0
    for inputs, truth in zip(cases, truths, strict=True):
        shapes = tuple(array.shape for array in inputs.values())
        if shapes not in runners:
            runners[shapes] = SYSTEMS[system](row.formula, inputs, by)
        cotangent = weights(truth.shape)
        with np.errstate(all="ignore"):
            value, gradients = runners[shapes](inputs, cotangent)
        value_error = worse(value_error, error(value, truth.value, row.alone))
        for name, gradient in zip(by, gradients, strict=True):
            exact = truth.gradient(name, cotangent)
            gradient_error = worse(gradient_error, error(gradient, exact, row.alone))
    return value_error, gradient_error


def meets(errors: Errors | str) -> bool:
    return not isinstance(errors, str) and all(e <= BAR for e in errors)


def shown(errors: Errors | str) -> str:
    if isinstance(errors, str):
        return "refused"
    parts = [f"{e:.0e}" if np.isfinite(e) else "nan" if np.isnan(e) else "inf" for e in errors]
    text = " / ".join("0" if part == "0e+00" else part for part in parts)
    return text if meets(errors) else f"**{text}**"


def page(results: list[tuple[Expression, dict[str, Errors | str]]], systems: dict[str, str]) -> str:
    head = (__doc__ or "").split("\n\n")[2].strip()
    lines = [
        "# Naive formulas at extreme inputs",
        "",
        "*Written by `python benchmarks/stability.py`; do not edit.*",
        "",
        "Each formula below is computed as it stands, compiled, in float32, by gradloom and other",
        "frameworks, at inputs such as ±1e4, 0, 1e±30, and nearly equal numbers, and compared with",
        "the exact value (mpmath, 100 digits).",
        "",
        head,
        "",
        f"The bar is {BAR:.0e}; what misses it is bold. Entries are value / gradient. Inputs are",
        "in `benchmarks/exponentials.py`, `cancellations.py` and `models.py`; how the exact value",
        "is found, and what holds at kinks, in `benchmarks/exact.py`.",
        "",
        "Versions: " + ", ".join(f"{name} {number}" for name, number in systems.items()) + ".",
        "",
    ]
    family = ""
    for row, found in results:
        if row.family != family:
            family = row.family
            lines += ["", f"## {family[0].upper()}{family[1:]}", ""]
            lines += [
                "| formula | " + " | ".join(systems) + " |",
                "|---" * (len(systems) + 1) + "|",
            ]
        cells = " | ".join(shown(found[system]) for system in systems)
        lines.append(f"| `{row.text}` | {cells} |")
    lines += ["", "## Counts", "", f"Of {len(results)} formulas meet the bar:", ""]
    for system in systems:
        good = sum(meets(found[system]) for _, found in results)
        lines.append(f"- {system}: {good}")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose family or text contains this")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated")
    parser.add_argument("--failing", action="store_true", help="print only what ours misses")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    wanted = options.systems.split(",")
    systems = {name: number for name, number in installed().items() if name in wanted}
    rows = [row for row in TABLE if options.only in row.family or options.only in row.text]
    results = []
    for row in rows:
        found = judge(row, list(systems))
        results.append((row, found))
        if not options.failing or not meets(found["gradloom"]):
            errors = "  ".join(f"{name}: {shown(found[name])}" for name in systems)
            print(f"{row.family}: {row.text}\n    {errors}", flush=True)
            for name, problem in found.items():
                if isinstance(problem, str):
                    print(f"    {name}: {problem}")
    missed = sum(not meets(found["gradloom"]) for _, found in results)
    print(f"{len(rows)} formulas; gradloom misses {missed}; Python {platform.python_version()}")
    if rows == TABLE and set(wanted) == set(SYSTEMS):
        PAGE.write_text(page(results, systems), encoding="utf-8")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
