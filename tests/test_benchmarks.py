"""The benchmark's two sides compute the same; JAX is the independent judge of the gradients."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/run.py as a module; this process keeps its processors and its threads."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    module = importlib.import_module("run")
    monkeypatch.setattr(module, "limit_threads", int)
    yield module
    for name, loaded in list(sys.modules.items()):
        if Path(getattr(loaded, "__file__", None) or "").parent == BENCHMARKS:
            sys.modules.pop(name)


@pytest.mark.parametrize("workload", ["elementwise", "mlp_small", "mlp", "cnn", "lstm", "attn"])
def test_workload_agrees_with_jax(run: Any, workload: str) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    made = run.WORKLOADS[workload]()
    ours, theirs = run.run_gradloom(made, 1), run.PEERS["jax"](made, 1)
    assert run.difference(ours, theirs, made.parameters) == ""


def test_the_comparison_sees_a_wrong_gradient(run: Any) -> None:
    made = run.WORKLOADS["mlp_small"]()
    right, other = run.run_gradloom(made, 1), run.run_gradloom(made, 1)

    def changed(factor: float) -> list[Any]:
        *parameters, bias = other.parameters()  # the bias starts at 0
        return [*parameters, factor * bias]

    assert run.difference(right, other, made.parameters) == ""
    for factor in (1.001, float("nan")):
        wrong = run.Runner(other.step, lambda factor=factor: changed(factor), other.reset)
        assert run.difference(right, wrong, made.parameters).startswith("parameter 3 changed")


def test_a_missing_peer_is_said(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run.main(["mlp_small", "--vs", "torch"]) == 0
    assert capsys.readouterr().out == "mlp_small    torch is not installed\n"


def test_memory_budgets_keep_the_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    memory: Any = importlib.import_module("memory")
    try:
        plain, line = memory.compare("lstm", [50])
    finally:
        sys.modules.pop("memory")
    assert plain.startswith("lstm: ") and "the same bits, segments sqrt" in line
