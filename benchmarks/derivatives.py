"""The k-th derivative of a network's loss, here and in JAX: how the graph grows, and what compiling
it takes.

    python benchmarks/derivatives.py --rounds 5

g₀ is the mean squared error of a tanh network of three layers, and gₖ = Σ v · ∂gₖ₋₁/∂w, reverse
mode over reverse mode: the k-th derivative of the loss along v.  Each side makes each gₖ in a
process of its own with no kernel kept on disk; both must give the same number.  Seconds are those
of the processor, all threads together, until the first result is there; of several rounds, taken in
turns, the median is printed, in a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

WIDTHS = (8, 16, 16, 1)
SAMPLES = 32
TOLERANCE = 1e-9  # relative, in float64

Array = np.ndarray[Any, Any]
Figures = dict[str, Any]


def data() -> tuple[Array, Array, list[Array], list[Array]]:
    """Inputs, targets, weights, and the direction of the derivatives."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((SAMPLES, WIDTHS[0])), rng.standard_normal((SAMPLES, WIDTHS[-1]))
    weights = [rng.standard_normal((m, n)) / np.sqrt(m) for m, n in pairwise(WIDTHS)]
    return x, t, weights, [rng.standard_normal(w.shape) / 8 for w in weights]


def built(order: int) -> tuple[list[Any], Any]:
    """Placeholders for x, t, the weights and the direction, and gₖ."""
    gl: Any = import_module("gradloom")
    x, t, weights, direction = data()
    arrays = {"x": x, "t": t}
    arrays |= {f"w{i}": w for i, w in enumerate(weights)}
    arrays |= {f"v{i}": v for i, v in enumerate(direction)}
    inputs = [gl.placeholder(a.shape, "float64", name=name) for name, a in arrays.items()]
    h, w, v = inputs[0], inputs[2 : 2 + len(weights)], inputs[2 + len(weights) :]
    for weight in w[:-1]:
        h = gl.tanh(h @ weight)
    g = gl.mean(gl.square(h @ w[-1] - inputs[1]))
    for _ in range(order):
        g = sum(gl.sum(slope * d) for slope, d in zip(gl.grad(g, w), v, strict=True))
    return inputs, g


def in_gradloom(order: int) -> Figures:
    """Nodes as built, after the last differentiation, after all rewriting; kernels; seconds."""
    gl: Any = import_module("gradloom")
    x, t, weights, direction = data()
    started = time.process_time()
    function = gl.function(*built(order))
    compiled = time.process_time()
    value = float(function(x, t, *weights, *direction))
    done = time.process_time()
    nodes = {name.split("-")[0]: len(graph.nodes) for name, graph in function.stages.items()}
    return {
        "value": value,
        "built": len(function.graph.nodes),
        "derived": nodes.get("differentiate", len(function.graph.nodes)),
        "rewritten": nodes["split"],
        "kernels": len(function.kernels),
        "seconds": (compiled - started, done - compiled),
    }


def in_jax(order: int) -> Figures:
    """Equations of the traced function, instructions of the compiled one; seconds."""
    jax: Any = import_module("jax")
    jnp: Any = import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)
    x, t, weights, direction = data()

    def loss(weights: Any) -> Any:
        h = x
        for w in weights[:-1]:
            h = jnp.tanh(h @ w)
        return jnp.mean(jnp.square(h @ weights[-1] - t))

    def along(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def slope(weights: Any) -> Any:
            slopes = jax.grad(f)(weights)
            return sum(jnp.sum(d * v) for d, v in zip(slopes, direction, strict=True))

        return slope

    g = loss
    for _ in range(order):
        g = along(g)
    started = time.process_time()
    traced = jax.jit(g).trace(weights)
    lowered = traced.lower()
    middle = time.process_time()
    compiled = lowered.compile()
    value = float(compiled(weights))
    done = time.process_time()
    return {
        "value": value,
        "equations": equations(traced.jaxpr.jaxpr),
        "instructions": compiled.as_text().count(" = "),
        "seconds": (middle - started, done - middle),
    }


def equations(jaxpr: Any) -> int:
    """The equations of a jaxpr, where it calls another those of that one."""
    count = 0
    for equation in jaxpr.eqns:
        inner = [getattr(p, "jaxpr", p) for p in equation.params.values()]
        called = [p for p in inner if hasattr(p, "eqns")]
        count += sum(map(equations, called)) if called else 1
    return count


SIDES: dict[str, Callable[[int], Figures]] = {"gradloom": in_gradloom, "jax": in_jax}


def in_own_process(side: str, order: int) -> Figures:
    """The figures of one side, from a process that finds no compiled kernels."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "GRADLOOM_CACHE_DIR": cache}
        command = [sys.executable, __file__, "--side", side, "--orders", str(order)]
        text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(text.stdout.splitlines()[-1])


def row(order: int, rounds: int) -> str:
    """The table's row of one order; ArithmeticError where the sides disagree."""
    found: dict[str, list[Figures]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in list(SIDES)[:: 1 if number % 2 == 0 else -1]:
            found[side].append(in_own_process(side, order))
    ours, theirs = (found[side][0] for side in SIDES)
    if not abs(ours["value"] - theirs["value"]) <= TOLERANCE * abs(theirs["value"]):
        raise ArithmeticError(f"order {order}: {ours['value']} against {theirs['value']}")
    seconds = [
        median(figures["seconds"][part] for figures in found[side])
        for side in SIDES
        for part in (0, 1)
    ]
    counts = [ours[key] for key in ("built", "derived", "rewritten", "kernels")]
    counts += [theirs[key] for key in ("equations", "instructions")]
    cells = [str(order), *map(str, counts[:4]), *(f"{s:.2f}" for s in seconds[:2])]
    cells += [*map(str, counts[4:]), *(f"{s:.2f}" for s in seconds[2:])]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| k | as built | derived | rewritten | kernels | passes, s | code, s "
    f"| JAX {{version}}: equations | instructions | trace, s | compile, s |\n|{'---|' * 11}"
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--orders", type=int, nargs="+", default=list(range(6)), metavar="K")
    parser.add_argument("--rounds", type=int, default=3, help="processes a side and order")
    parser.add_argument("--side", choices=list(SIDES), help="only this one, in this process")
    options = parser.parse_args(arguments)
    if options.side:
        for order in options.orders:
            print(json.dumps(SIDES[options.side](order)))
        return
    print(HEAD.format(version=version("jax")), flush=True)
    for order in options.orders:
        print(row(order, options.rounds), flush=True)


if __name__ == "__main__":
    main()
