"""gradloom and its peers: a name each, and what makes a runner of a workload.

Frameworks are imported when they are asked for: none but gradloom need be installed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

from workloads import Runner, Workload

Side = Callable[[Workload, int], Runner]


def late(module: str, function: str) -> Side:
    """A function of a module that is imported at the first call."""

    def run(workload: Workload, threads: int) -> Runner:
        made: Any = import_module(module)
        return getattr(made, function)(workload, threads)

    return run


run_gradloom = late("in_gradloom", "run_gradloom")
PEERS: dict[str, Side] = {
    "jax": late("in_jax", "run_jax"),
    "torch": late("in_torch", "run_torch"),
    "torch.compile": late("in_torch", "run_torch_compile"),
    "pytensor": late("in_pytensor", "run_pytensor"),
}


def package(peer: str) -> str:
    """What is installed to have it."""
    return peer.split(".")[0]


def version_of(peer: str) -> str:
    return version(package(peer))
