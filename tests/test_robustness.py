# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Several threads, and damaged caches."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.tests.processes import finish, run, start, together

F32 = np.float32


# --- threads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_updates_of_shared_parameters_from_many_threads_are_all_there(size: int) -> None:
    w = gl.parameter(np.zeros(size, F32), name="w")
    count = gl.parameter(0, name="count")
    x = gl.placeholder((), name="x")
    step = gl.function([x], count + 1, updates={w: w + x, count: count + 1})
    seen: list[int] = []

    def work() -> None:
        for _ in range(100):
            seen.append(int(step(2)))

    together(*[work] * 4)
    assert count.value == 400
    np.testing.assert_array_equal(w.value, np.full(size, 800))
    assert sorted(seen) == list(range(1, 401)), "each call saw the state of its own"


def test_threads_with_parameters_of_their_own_and_different_sizes() -> None:
    x = gl.placeholder(("B", 5), name="x")

    def work(seed: int) -> None:
        w = gl.parameter(np.zeros(5, F32), name="w")
        step = gl.function([x], gl.sum(x, axis=1), updates={w: w + gl.sum(x, axis=0)})
        rng, total = np.random.default_rng(seed), np.zeros(5)
        for _ in range(60):
            rows = rng.integers(0, 9, (int(rng.integers(0, 70)), 5)).astype(F32)
            np.testing.assert_array_equal(step(rows), rows.sum(1))
            total += rows.sum(0)
        np.testing.assert_array_equal(w.value, total)

    together(*[lambda seed=seed: work(seed) for seed in range(4)])


def test_the_first_call_from_several_threads() -> None:
    x = gl.placeholder(("B",), name="x")
    f = gl.function([x], gl.cos(x) * gl.sin(x) + gl.sum(x))
    v = np.arange(50, dtype=F32)
    results: list[Any] = []
    together(*[lambda: results.append(f(v))] * 5)
    for result in results:
        np.testing.assert_array_equal(result, results[0])


class Small:
    """A classifier of rows of 64, trained on batches drawn once, and asked for what it says."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        x, t = gl.placeholder((32, 64), name="x"), gl.placeholder((32,), "int64", name="t")
        shapes = {"w": (64, 64), "b": (64,), "v": (64, 10), "c": (10,)}
        ps = {n: gl.parameter(rng.standard_normal(s, F32) / 8, name=n) for n, s in shapes.items()}
        scores = gl.tanh(x @ ps["w"] + ps["b"]) @ ps["v"] + ps["c"]
        taken = gl.take_along_axis(gl.log_softmax(scores), t[:, None], axis=1)
        loss = -gl.mean(taken)
        count = gl.parameter(0, name="count")
        updates = {p: p - 0.05 * gl.grad(loss, p) for p in ps.values()}
        self.parameters = list(ps.values())
        self.train = gl.function([x, t], loss, updates={**updates, count: count + 1})
        self.says = gl.function([x, t], [scores, count])
        self.batches = [
            (rng.standard_normal((32, 64), F32), rng.integers(0, 10, 32)) for _ in range(7)
        ]

    def steps(self, first: int, last: int) -> bytes:
        """The losses of these steps, as bytes."""
        losses = [self.train(*self.batches[n % 7]) for n in range(first, last)]
        return np.stack(losses).tobytes() if losses else b""

    def state(self) -> bytes:
        return b"".join(p.value.tobytes() for p in self.parameters)


@pytest.mark.parametrize("total", [2000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_training_twice_at_once_beside_inference(total: int) -> None:
    """The bits of one thread after another; what is said belongs to a whole state."""
    part = 500
    alone: list[list[tuple[bytes, bytes]]] = []
    said: dict[int, bytes] = {}
    for seed in (1, 2):
        net, parts = Small(seed), list[tuple[bytes, bytes]]()
        for first in range(0, total, part):
            parts.append((net.steps(first, first + part), net.state()))
            if seed == 1:
                said[first + part] = net.says(*net.batches[0])[0].tobytes()
        alone.append(parts)
    nets = [Small(1), Small(2)]
    done = threading.Event()

    def training(net: Small, expected: list[tuple[bytes, bytes]]) -> None:
        try:
            for number, (losses, state) in enumerate(expected):
                assert net.steps(number * part, (number + 1) * part) == losses
                assert net.state() == state
        finally:
            if net is nets[0]:
                done.set()

    def inference() -> None:
        first, begun = nets[0].says(*nets[0].batches[0])
        while not done.is_set():
            scores, count = nets[0].says(*nets[0].batches[0])
            if int(count) in said:
                assert scores.tobytes() == said[int(count)]
            assert (scores != first).any() == (count != begun)

    with ThreadPoolExecutor(3) as pool:
        works = [pool.submit(training, *pair) for pair in zip(nets, alone, strict=True)]
        for work in [*works, pool.submit(inference)]:
            work.result(timeout=None if total > 10_000 else 50)
    scores, count = nets[0].says(*nets[0].batches[0])
    assert int(count) == total and scores.tobytes() == said[total]


def test_inference_while_training_sees_whole_states() -> None:
    size = 60_000
    a, b = (gl.parameter(np.zeros(size, F32), name=n) for n in "ab")
    train = gl.function([], None, updates={a: a + 1, b: b - 1})
    infer = gl.function([], [gl.min(a), gl.max(a), gl.min(a + b), gl.max(a + b), a])
    done = threading.Event()

    def training() -> None:
        for _ in range(200):
            train()
        done.set()

    def inference() -> None:
        last = 0.0
        while not done.is_set():
            low, high, left, right, copy = infer()
            assert low == high >= last and left == right == 0
            assert (copy == low).all(), "a result is a copy of one state"
            last = float(low)

    def reading() -> None:
        while not done.is_set():
            value = a.value
            assert (value == value[0]).all()

    together(training, inference, reading)


def test_setting_while_calling() -> None:
    w = gl.parameter(np.zeros(50_000, F32), name="w")
    read = gl.function([], [gl.min(w), gl.max(w)])
    done = threading.Event()

    def setting() -> None:
        for value in range(200):
            w.value = np.full(50_000, value, F32)
        done.set()

    def reading() -> None:
        while not done.is_set():
            low, high = read()
            assert low == high

    together(setting, reading)


def test_functions_that_take_each_others_parameters_do_not_wait_for_ever() -> None:
    ps = [gl.parameter(np.zeros(3, F32), name=f"p{i}") for i in range(6)]
    rng = random.Random(0)
    steps: list[Any] = []
    for _ in range(6):
        rng.shuffle(ps)
        steps.append(gl.function([], None, updates={p: p + 1 for p in ps[:4]}))
        steps.append(gl.function([], [p + 1 for p in ps]))

    def work(step: Any) -> None:
        for _ in range(200):
            step()

    together(*[lambda step=step: work(step) for step in steps])
    assert sum(p.value[0] for p in ps) == 6 * 4 * 200


def test_exceptions_of_host_ops_in_two_threads_at_once() -> None:
    m = gl.placeholder((2, 2), name="m")
    state = gl.parameter(np.ones(2, F32), name="state")
    solved = gl.solve(m, state)
    f = gl.function([m], solved, updates={state: solved})

    def work(good: bool) -> None:
        for _ in range(200):
            try:
                f(np.eye(2, dtype=F32) if good else np.zeros((2, 2), F32))
                assert good
            except gl.GradloomError as error:
                assert not good and "Singular matrix" in str(error)

    together(lambda: work(True), lambda: work(False), lambda: work(False))
    np.testing.assert_array_equal(state.value, [1, 1])


# --- the disk cache -------------------------------------------------------------------------------

TRAIN = """
import numpy as np, gradloom as gl
from gradloom.runtime import loader
x = gl.placeholder(("B", 4), name="x")
w = gl.parameter(np.ones((4, 4), "float32"), name="w")
loss = gl.sum(gl.tanh(x @ w))
step = gl.function([x], loss, updates={w: w - 0.1 * gl.grad(loss, w)})
print([float(step(np.ones((3, 4), "float32"))) for _ in range(3)])
s = loader.statistics()
print("compiled", s.compiled, "loaded", s.loaded_from_disk)
"""


def trained(directory: Path | str | None, **more: str | None) -> tuple[str, int, int]:
    """The losses, and how many kernels were compiled and loaded."""
    path = None if directory is None else str(directory)
    losses, counts = run(TRAIN, GRADLOOM_CACHE_DIR=path, **more).splitlines()
    words = counts.split()
    return losses, int(words[1]), int(words[3])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    """A cache that one process filled, the losses, and the number of kernels."""
    directory = tmp_path_factory.mktemp("filled")
    losses, compiled, loaded = trained(directory)
    assert compiled > 0 and loaded == 0
    return directory, losses, compiled


def test_a_second_process_compiles_nothing(filled: tuple[Path, str, int]) -> None:
    directory, losses, kernels = filled
    assert trained(directory) == (losses, 0, kernels)


def test_folders_that_cannot_be_used(filled: tuple[Path, str, int], tmp_path: Path) -> None:
    _, losses, kernels = filled
    file = tmp_path / "file"
    file.write_text("a file where the folder should be")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for directory in (file, "/proc/gradloom", closed / "x"):
        found = trained(directory)
        assert found[0] == losses and found[1] == kernels
    assert file.read_text() == "a file where the folder should be"


def test_without_a_home(filled: tuple[Path, str, int], tmp_path: Path) -> None:
    _, losses, kernels = filled
    file = tmp_path / "file"
    file.touch()
    assert trained(None, HOME=str(file), XDG_CACHE_HOME=None) == (losses, kernels, 0)
    home = tmp_path / "home"
    home.mkdir()
    assert trained(None, HOME=str(home), XDG_CACHE_HOME=None)[0] == losses
    assert any(home.rglob("*.entry"))


def entries(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.entry"))


def test_damaged_entries_are_misses(filled: tuple[Path, str, int], tmp_path: Path) -> None:
    source, losses, kernels = filled
    rng = random.Random(1)

    def flip(data: bytearray) -> bytes:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)

    damages: list[Callable[[bytearray], bytes]] = [
        lambda data: bytes(data[: rng.randrange(len(data))]),
        lambda data: bytes(data) + b"\0",
        flip,
    ]
    for number, damage in enumerate(damages):
        directory = tmp_path / str(number)
        (directory / "objects").mkdir(parents=True, mode=0o700)
        for entry in entries(source):
            copy = directory / "objects" / entry.name
            copy.write_bytes(damage(bytearray(entry.read_bytes())))
        assert trained(directory) == (losses, kernels, 0)
        assert trained(directory) == (losses, 0, kernels), "the damage is mended"


def test_swapped_entries_are_misses(filled: tuple[Path, str, int], tmp_path: Path) -> None:
    source, losses, kernels = filled
    (tmp_path / "objects").mkdir(mode=0o700)
    found = entries(source)
    for entry, other in zip(found, [*found[1:], found[0]], strict=True):
        (tmp_path / "objects" / entry.name).write_bytes(other.read_bytes())
    assert trained(tmp_path) == (losses, kernels, 0)


def test_processes_that_fill_one_empty_cache_at_once(
    filled: tuple[Path, str, int], tmp_path: Path
) -> None:
    _, losses, kernels = filled
    processes = [start(TRAIN, GRADLOOM_CACHE_DIR=str(tmp_path)) for _ in range(4)]
    for process in processes:
        assert finish(process).splitlines()[0] == losses
    assert trained(tmp_path) == (losses, 0, kernels)
    assert not list(tmp_path.rglob("*.tmp"))


def test_processes_killed_while_they_write(filled: tuple[Path, str, int], tmp_path: Path) -> None:
    _, losses, kernels = filled
    rng = random.Random(2)
    killed = 0
    for _ in range(8):
        for entry in entries(tmp_path):
            if rng.random() < 0.5:
                entry.unlink()
        process = start(TRAIN, GRADLOOM_CACHE_DIR=str(tmp_path))
        time.sleep(rng.uniform(0.1, 0.9))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert killed
    found = trained(tmp_path)
    assert found[0] == losses and found[1] + found[2] == kernels
    assert trained(tmp_path) == (losses, 0, kernels)
