"""How compile time grows with the graph: each pass's seconds for 1 000 nodes and for 10 000.

    python benchmarks/scaling.py network chain --nodes 1000 10000

`network` is a step of training of as many layers tanh(x @ w + b) as make that many nodes once the
gradient stands in the graph; `chain` is one long formula of one vector.  Each graph is compiled in
a process of its own that finds nothing on disk, up to the end of its first call.  A pass that runs
several times counts with all runs; `load` is what comes behind the passes, from kernels' text to
code in memory.
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
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import positive, write_json

WIDTH = 16
BATCH = 4
NODES_A_LAYER = 15  # with its gradient and updates
NODES_A_LINK = 4


def network(nodes: int) -> tuple[Any, list[Any]]:
    """A step of gradient descent, and a batch."""
    gl: Any = import_module("gradloom")
    x = h = gl.placeholder(("B", WIDTH), name="x")
    parameters: list[Any] = []
    for layer in range(nodes // NODES_A_LAYER):
        w = gl.parameter(0.9 * np.eye(WIDTH, dtype=np.float32), name=f"w{layer}")
        b = gl.parameter(np.zeros(WIDTH, np.float32), name=f"b{layer}")
        parameters += [w, b]
        h = gl.tanh(h @ w + b)
    loss = gl.mean(gl.square(h))
    gradients = zip(parameters, gl.grad(loss, parameters), strict=True)
    step = gl.function([x], loss, updates={p: p - 0.01 * g for p, g in gradients})
    return step, [np.ones((BATCH, WIDTH), np.float32)]


def chain(nodes: int) -> tuple[Any, list[Any]]:
    """sin(…) · c + x, again and again with other numbers c."""
    gl: Any = import_module("gradloom")
    x = h = gl.placeholder(("N",), name="x")
    for link in range(nodes // NODES_A_LINK):
        h = gl.sin(h) * (1 + 1 / (link + 2)) + x
    return gl.function([x], h), [np.ones(64, np.float32)]


GRAPHS: dict[str, Callable[[int], tuple[Any, list[Any]]]] = {"network": network, "chain": chain}


def compiled(graph: str, nodes: int) -> dict[str, Any]:
    """Figures of one graph, from this process."""
    import_module("gradloom")
    start = time.process_time()
    function, arrays = GRAPHS[graph](nodes)
    function(*arrays)
    taken = time.process_time() - start
    derived = len(function.stages["dead"].nodes)
    passes: dict[str, float] = {}
    for label, seconds in function.compile_times.items():
        stem, _, number = label.rpartition("-")
        name = stem if number.isdecimal() else label
        passes[name] = passes.get(name, 0.0) + seconds
    return {
        **{"graph": graph, "nodes": derived, "kernels": len(function.kernels)},
        **{"processor_seconds": taken, "passes": passes},
    }


def in_own_process(graph: str, nodes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "GRADLOOM_CACHE_DIR": cache}
        command = [sys.executable, __file__, graph, "--nodes", str(nodes), "--only"]
        told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(told.stdout.splitlines()[-1])


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Seconds by pass, a column a size, and how many times as much the last takes as the first."""
    head = "".join(f"{row['nodes']:>10,} nodes" for row in rows)
    lines = [f"{rows[0]['graph']:24s}{head}     ratio"]
    names = dict.fromkeys(name for row in rows for name in row["passes"])
    figures = {name: [row["passes"].get(name, 0.0) for row in rows] for name in names}
    figures["processor, all threads"] = [row["processor_seconds"] for row in rows]
    for name, seconds in figures.items():
        ratio = f"{seconds[-1] / seconds[0]:10.1f}" if seconds[0] > 0 else ""
        lines.append(f"  {name:22s}" + "".join(f"{value:14.3f} s" for value in seconds) + ratio)
    kernels = "".join(f"{row['kernels']:>16,}" for row in rows)
    return [*lines, f"  {'kernels':22s}{kernels}"]


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same with the median of all seconds."""
    names = rounds[0]["passes"]
    return {
        **rounds[0],
        "processor_seconds": median(row["processor_seconds"] for row in rounds),
        "passes": {name: median(row["passes"].get(name, 0.0) for row in rounds) for name in names},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("graphs", nargs="*", help=f"of {', '.join(GRAPHS)}; default: all")
    parser.add_argument("--nodes", type=positive, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--only", action="store_true", help="be the process that is timed")
    options = parser.parse_args(arguments)
    if options.only:
        print(json.dumps(compiled(options.graphs[0], options.nodes[0])))
        return
    found: list[dict[str, Any]] = []
    for graph in options.graphs or GRAPHS:
        rows = [
            middle([in_own_process(graph, nodes) for _ in range(options.rounds)])
            for nodes in options.nodes
        ]
        print("\n".join(table(rows)), flush=True)
        for small, large in pairwise(rows):
            times = large["processor_seconds"] / small["processor_seconds"]
            nodes = large["nodes"] / small["nodes"]
            print(f"  {nodes:.1f} times the nodes take {times:.1f} times as long", flush=True)
        found += rows
    write_json(options.json, "scaling", os.cpu_count() or 1, found)


if __name__ == "__main__":
    main()
