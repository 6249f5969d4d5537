"""The benchmark's two sides compute the same; JAX is the independent judge of the gradients.

What the scripts count and compare is right as well; what they time is not looked at.
"""

import importlib
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gradloom.ir.dims import evaluate

FOLDERS = [Path(__file__).parents[1] / name for name in ("benchmarks", "docs")]
Script = Callable[[str], Any]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """A script of these folders as a module; this process keeps its processors and its threads."""
    monkeypatch.setattr(sys, "path", [*map(str, FOLDERS), *sys.path])

    def load(name: str) -> ModuleType:
        module: Any = importlib.import_module(name)
        if hasattr(module, "limit_threads"):
            monkeypatch.setattr(module, "limit_threads", int)
        return module

    yield load
    for name, loaded in list(sys.modules.items()):
        if Path(getattr(loaded, "__file__", None) or "").parent in FOLDERS:
            sys.modules.pop(name)


@pytest.fixture
def run(script: Script, monkeypatch: pytest.MonkeyPatch) -> Any:
    """run.py, on a machine of 100 Gflop/s and 10 GB/s."""
    module, roofline = script("run"), script("roofline")

    def peaks(threads: int) -> Any:
        return roofline.Peaks(threads, 1e11, 1e10)

    monkeypatch.setattr(module, "measured", peaks)
    return module


WORKLOADS = ["elementwise", "mlp_small", "mlp", "cnn", "lstm", "attn"]


@pytest.mark.campaign(2)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_one_thread_and_several_give_the_same_bits(script: Script, workload: str) -> None:
    made = script("workloads").WORKLOADS[workload]()
    first, *others = (script("sides").run_gradloom(made, threads) for threads in (1, 2, 3))
    for _ in range(3):
        result = first.step().tobytes()
        assert all(other.step().tobytes() == result for other in others)
    last = [value.tobytes() for value in first.parameters()]
    assert all([p.tobytes() for p in other.parameters()] == last for other in others)
    if last:
        assert last != [value.tobytes() for value in made.parameters]


@pytest.mark.campaign(3)
@pytest.mark.parametrize("workload", WORKLOADS)
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
    peaks = "peak of 2 threads: 100 Gflop/s in multiply-adds, 10.0 GB/s in a triad\n"
    assert capsys.readouterr().out == peaks + "mlp_small    torch is not installed\n"


def test_figures_are_written_as_json(script: Script, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    made = script("sides").run_gradloom
    run.PEERS["numpy"] = made  # a peer that is as fast as we are
    assert run.main(["mlp_small", "--vs", "numpy", "--rounds", "2", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    (row,) = report["rows"]
    assert report["kind"] == "steps" and report["threads"] == 2 and report["peaks"]["flops"] == 1e11
    assert len(row["ours"]) == len(row["theirs"]) == 2
    ratios = [b / a for a, b in zip(row["ours"], row["theirs"], strict=True)]
    assert row["ratios"] == pytest.approx(ratios, rel=1e-3)
    floor = max(row["flops"] / 1e11, row["bytes"] / 1e10)
    assert row["floors"] == pytest.approx([floor, floor], rel=1e-3)
    shares = np.divide(row["floors"], row["ours"])
    assert row["share"] == pytest.approx(np.median(shares), rel=1e-3)
    assert set(report["machine"]) == {"processor", "processors", "system", "python", "versions"}


def test_a_share_is_of_one_moment(run: Any) -> None:
    """A machine that is now quick and now slow, and we with it but for once: the share stays."""
    times = {"floors": [4.0, 1.0, 1.0], "ours": [8.0, 2.0, 10.0], "theirs": [1.0] * 3}
    assert run.Measurement("mlp", "jax", "1", 2, **times).share == 0.5


def test_sides_take_turns_and_every_other_round_backwards(script: Script) -> None:
    taken: list[tuple[str, int]] = []

    def block(name: str, seconds: float) -> Callable[[int], float]:
        def go(calls: int) -> float:
            taken.append((name, calls))
            return seconds

        return go

    sides = {"a": block("a", 0.1), "b": block("b", 0.5)}
    found = script("machine").in_turns(sides, 1.0, 2)
    assert found == {"a": [0.1, 0.1], "b": [0.5, 0.5]}
    assert taken[-4:] == [("a", 10), ("b", 2), ("b", 2), ("a", 10)]


@pytest.mark.parametrize("workload", ["mlp_small", "mlp", "attn"])
def test_operations_of_a_step_are_those_of_its_graph(script: Script, workload: str) -> None:
    """Twice the products' multiply-adds, where nothing is computed twice."""
    made = script("workloads").WORKLOADS[workload]()
    runner = script("sides").run_gradloom(made, 1)
    sizes = {"B": len(made.inputs[0])}
    counted = 0
    for node in runner.compiled.stages["split"].nodes:
        assert not node.regions
        if node.op.kind == "contraction":
            multiply_adds = node.results[0].size * node.operands[0].shape[-1]
            counted += 2 * evaluate(multiply_adds, sizes)
    assert script("roofline").work(made).flops == counted


def test_operations_of_loops_and_convolutions(script: Script) -> None:
    workloads, work = script("workloads"), script("roofline").work
    a_step = 32 * (64 * 512 * 2 + 128 * 512 * 3)  # nothing flows back to the input
    assert work(workloads.lstm()).flops == 2 * (32 * a_step + 32 * 128 * 10 * 3)
    image = 28 * 28 * 16 * 25 * 2 + 14 * 14 * 32 * 16 * 25 * 3 + 32 * 7 * 7 * 10 * 3
    assert work(workloads.cnn()).flops == 2 * 64 * image


def test_micro_cases_agree_with_numpy(script: Script) -> None:
    for suite in ("softmax", "layer_norm", "reductions", "matmul"):
        (row,) = script("micro").run_suite(suite, ["numpy"], rounds=1, first=1)
        assert set(row["seconds"]) == {"gradloom", "numpy"} and row["best"] == "numpy"


def test_convolutions_and_their_gradients_agree_with_jax(script: Script) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    rows = list(script("micro").run_suite("convolution", ["jax"], rounds=1, first=3))
    assert [row["best"] for row in rows] == ["jax"] * 3


def test_a_wrong_result_is_not_timed(script: Script) -> None:
    micro, cases = script("micro"), script("micro_cases")
    formulas: Any = {"gradloom": lambda x: x + 1, "numpy": lambda x: x + 1.001}  # pyright: ignore
    case = cases.Case("off", cases.drawn((4,)), formulas)
    with pytest.raises(ArithmeticError, match="off: numpy and gradloom are"):
        micro.compare(case, ["numpy"], 1, micro.Modules())


def test_there_are_40_products_and_20_convolutions(script: Script) -> None:
    cases = script("micro_cases")
    assert len(set(cases.PRODUCTS)) == 40 and len(set(cases.CONVOLUTIONS)) == 20


def test_a_warm_step_allocates_nothing(script: Script) -> None:
    row = script("steady").examine("mlp_small", threads=2, steps=300)
    assert row["planned"] == row["allocated"] and row["new_arenas"] == 0
    assert row["growth"] < row["steps"]  # the smallest Python object has 16 bytes


def test_two_threads_train_beside_one_another(script: Script) -> None:
    outcome = script("endurance").endure(2000)
    assert outcome.same and outcome.asked > 0 and outcome.strange == 0


def test_strange_answers_are_counted(script: Script) -> None:
    losses = np.array([3.0, 2.0, 2.5, 2.0, 1.0], np.float32)
    for told, strange in (
        ([3, 2, 2.5, 2, 1], 0),
        ([2.5, 2, 1], 0),  # 2.0 comes again behind 2.5
        ([1, 2.5], 1),
        ([2.5, 3, 1], 1),
        ([7], 1),
        ([3, 2, 2.5, 2, 1, 1, 1], 0),  # one answer
        ([3, 2, 2.5, 2, 1, 3, 1], 2),  # more than there are: these two
    ):
        answers = script("endurance").Answers(np.full(5, np.nan, np.float32))
        for answer in told:
            answers.add(answer)
        assert answers.strange(losses) == strange


def test_compile_times_are_those_of_the_passes(script: Script) -> None:
    scaling = script("scaling")
    small, large = (scaling.compiled("network", nodes) for nodes in (60, 150))
    assert 55 <= small["nodes"] <= 70 and 140 <= large["nodes"] <= 160
    assert small["kernels"] == large["kernels"]  # layers are alike
    assert {"stabilise", "differentiate", "fuse", "lower", "load"} <= set(small["passes"])
    assert not any(name[-1].isdecimal() for name in small["passes"])  # runs are added up
    small["passes"], large["passes"] = {"fuse": 0.5}, {"fuse": 2.0}
    head, fuse, *_ = scaling.table([small, large])
    assert f"{small['nodes']} nodes" in head and fuse.split() == "fuse 0.500 s 2.000 s 4.0".split()


def test_the_page_says_what_the_figures_say(script: Script) -> None:
    make = script("make_performance")
    machine = script("machine").facts()
    step = {"workload": "mlp", "floors": [3e-4] * 3, "ours": [5e-4] * 3, "theirs": [1e-3] * 3}
    steps = [
        {**step, "peer": "jax", "ratios": [2.0, 1.5, 4.0]},
        {**step, "peer": "torch", "ratios": [0.5] * 3},
        {
            **step,
            "workload": "cnn",
            "peer": "jax",
            "ratios": [8.0] * 3,
            "floors": [6.2e-4, 3.1e-4, 9e-4],
            "ours": [1e-3, 5e-4, 5e-4],
        },
    ]
    case = {"suite": "matmul", "case": "1×1", "seconds": {"gradloom": [2e-6]}, "best": "numpy"}
    figures = {
        "steps": {"peaks": {"flops": 2e11, "bytes": 3e10}, "rows": steps},
        "micro": {"rows": [{**case, "ratio": 0.5}, {**case, "ratio": 2.0}]},
    }
    figures = {name: {**part, "threads": 2, "machine": machine} for name, part in figures.items()}
    page = make.page(figures)
    assert (
        "| mlp | 500 µs | 1 ms, **2.00** (1.75 to 3.00) | 1 ms, **0.50** (0.50 to 0.50) "
        "| 300 µs | 0.60 |\n" in page
    )
    assert "| cnn | 500 µs | 1 ms, **8.00** (8.00 to 8.00) | – |" in page
    assert "| geometric mean |  | **4.00** | **0.50** |  |  |" in page
    assert "200 Gflop/s" in page and "30.0 GB/s" in page
    assert "| matmul | 2 | **1.00** | 0.50 | 2.00 |" in page
    assert "4 of 6 are met" in page
    for line in (
        "| mlp: JAX's time over ours | ≥ 1.4 | 2.00 ✓ |",
        "| mlp: torch's time over ours | ≥ 1 | 0.50 **✗** |",
        "| mlp: share of the roofline | ≥ 0.75 | 0.60 **✗** |",
        "| cnn: share of the roofline | ≥ 0.6 | 0.62 ✓ |",
    ):
        assert line in page
    images = make.plots(figures)
    assert set(images) == {name for name in images if f"]({name})" in page} and len(images) == 2
    tree = ElementTree.fromstring(images["performance-steps.svg"])
    dots = [float(dot.attrib["cx"]) for dot in tree.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(dots) == 3 + 2  # with the legend
    assert dots[0] - dots[1] == pytest.approx(dots[2] - dots[0], abs=0.2)  # 0.5, 2, 8


def test_the_page_is_made_of_the_figures(script: Script) -> None:
    make = script("make_performance")
    if not make.FIGURES.exists():
        pytest.skip("no figures are kept here")
    figures = json.loads(make.FIGURES.read_text(encoding="utf-8"))
    kept = {"performance.md": make.page(figures), **make.plots(figures)}
    for name, text in kept.items():
        assert make.FIGURES.with_name(name).read_text(encoding="utf-8") == text, (
            "run python docs/make_performance.py"
        )


def test_memory_budgets_keep_the_bits(script: Script) -> None:
    plain, line = script("memory").compare("lstm", [50])
    assert plain.startswith("lstm: ") and "the same bits, segments sqrt" in line
