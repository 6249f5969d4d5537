"""Drawn spellings of naive formulas meet the bar as well, wherever they stand."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradloom as gl
from gradloom.benchmarks.expressions import Expression
from gradloom.benchmarks.stability import BAR, error, truth_of, weights
from gradloom.benchmarks.systems import gradloom_names

from .spellings import spelling


def errors(row: Expression) -> list[float]:
    """Of value, gradients and tangent, at all cases; by the interpreter, after the passes."""
    found: list[float] = []
    arrays = row.arrays(row.cases[0])
    by = row.by(arrays)
    leaves = {
        name: gl.placeholder(array.shape, str(array.dtype), name=name)
        for name, array in arrays.items()
    }
    value = row.formula(gradloom_names(), leaves)
    shape: Any = value.shape
    wanted = [leaves[name] for name in by]
    directions = [gl.constant(weights(arrays[name].shape)) for name in by]
    gradients = gl.grad(gl.sum(value * weights(shape)), wanted)
    outputs = [value, *gradients, gl.jvp(value, wanted, directions)]
    stable = gl.function(list(leaves.values()), outputs).stages["dead"]
    for case in row.cases:
        inputs = row.arrays(case)
        truth = truth_of(row, inputs)
        exact = [truth.value, *(truth.gradient(name, weights(shape)) for name in by)]
        exact.append(truth.tangent({name: weights(inputs[name].shape) for name in by}))
        with np.errstate(all="ignore"):
            results = gl.evaluate(stable, inputs)
        found += [error(a, b, row.alone) for a, b in zip(results, exact, strict=True)]
    return found


def missed(seeds: range) -> list[str]:
    """Texts of the spellings that miss the bar."""
    found: list[str] = []
    for seed in seeds:
        row, core = spelling(seed)
        worst = errors(row)
        if not all(e <= BAR for e in worst):
            found.append(f"{seed} [{row.family}: {core}]\n    {row.text}\n    {np.array(worst)}")
    return found
