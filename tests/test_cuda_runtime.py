# pyright: standard
"""The CUDA runtime without a GPU: its error, and whole calls on a simulated device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.function import Function
from gradloom.ir.errors import CudaUnavailableError, IndexRangeError
from gradloom.ir.kernel import Kernel
from gradloom.ir.launch import Dimensions
from gradloom.ir.target import Target
from gradloom.runtime import cuda
from gradloom.runtime.cuda_executable import CudaExecutable, Device

from .cuda_simulator import run_kernel


class SimulatedDevice(Device):
    """Device memory as host arrays at made-up addresses; kernels run when they are launched."""

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.next = 1 << 20
        self.loaded: list[tuple[str, bool]] = []

    def enter(self) -> None:
        pass

    def allocate(self, nbytes: int) -> int:
        address = self.next
        self.memory[address] = np.full(max(nbytes, 8), 0xFF, np.uint8)
        self.next += (nbytes // 4096 + 2) * 4096
        return address

    def release(self, address: int) -> None:
        del self.memory[address]

    def at(self, address: int) -> np.ndarray:
        base = max(start for start in self.memory if start <= address)
        return self.memory[base][address - base :]

    def write(self, address: int, array: np.ndarray) -> None:
        self.at(address)[: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)

    def read(self, address: int, array: np.ndarray) -> None:
        found = self.at(address)[: array.nbytes]
        array[...] = found.view(array.dtype).reshape(array.shape)

    def copy(self, destination: int, source: int, nbytes: int) -> None:
        self.at(destination)[:nbytes] = self.at(source)[:nbytes].copy()

    def load(self, kernel: Kernel, narrow: bool) -> Any:
        self.loaded.append((kernel.name, narrow))
        return kernel

    def launch(
        self,
        function: Any,
        grid: Dimensions,
        block: Dimensions,
        pointers: Sequence[int],
        sizes: Sequence[int],
        status: int,
        narrow: bool,
    ) -> None:
        kernel: Kernel = function
        arrays: dict[str, np.ndarray] = {}
        for argument, pointer in zip(kernel.arguments, pointers, strict=True):
            memory = self.at(pointer)
            size = argument.dtype.bytes
            arrays[argument.name] = memory[: len(memory) // size * size].view(argument.dtype.numpy)
        parameters = dict(zip(kernel.parameters, sizes, strict=True))
        words = run_kernel(kernel, kernel.source, arrays, parameters, grid=grid[0])
        own = self.at(status)[:16].view(np.int64)
        if own[0] == 0:
            own[:] = words


def simulated(function: Function) -> CudaExecutable:
    program = compile_graph(function.graph, Target("cuda")).program
    assert program is not None
    return CudaExecutable(program, SimulatedDevice())


def test_training_steps_on_the_device_equal_the_cpu() -> None:
    rng = np.random.default_rng(0)
    x = gl.placeholder(("B", 6), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    w = gl.parameter(rng.normal(size=(6, 5)).astype("float32"), name="w")
    p = gl.exp(x @ w) / gl.sum(gl.exp(x @ w), axis=1, keepdims=True)
    loss = -gl.mean(gl.log(gl.take_along_axis(p, t[:, None], axis=1)))
    step = gl.function([x, t], loss, updates={w: w - 0.1 * gl.grad(loss, w)})
    on_device = simulated(step)
    start = w.value
    feeds = [(rng.normal(size=(b, 6)).astype("float32"), rng.integers(0, 5, b)) for b in (4, 1, 4)]
    losses = [step(*feed) for feed in feeds]
    after = w.value
    w.value = start
    for feed, expected in zip(feeds, losses, strict=True):
        np.testing.assert_allclose(on_device(feed, [w])[0], expected, 2e-5, 1e-5)
    np.testing.assert_allclose(w.value, after, 2e-5, 1e-5)
    assert len(on_device.instances) == 2  # memory is kept for each shape


def test_a_failed_call_changes_no_parameter() -> None:
    x = gl.placeholder((3,), "int64", name="x")
    w = gl.parameter(np.ones((4, 2), "float32"), name="w")
    loss = gl.sum(gl.take(w, x, axis=0))
    step = gl.function([x], loss, updates={w: w - gl.grad(loss, w)})
    on_device = simulated(step)
    with pytest.raises(IndexRangeError, match="9"):
        on_device([np.array([0, 9, 1])], [w])
    assert (w.value == 1).all()
    (total,) = on_device([np.array([0, 3, 1])], [w])
    assert total == 6 and w.value.sum() == 2


def test_loops_and_host_steps() -> None:
    rng = np.random.default_rng(2)
    x = gl.placeholder(("T", 3), name="x")
    w = gl.parameter(rng.normal(size=(3, 3)).astype("float32"), name="w")

    def body(carry: Any, row: Any) -> tuple[Any, Any]:
        new = gl.tanh(carry * 0.5 + row @ w)
        return new, gl.sum(new * carry)

    final, ys = gl.scan(body, gl.zeros((3,)), x)
    square = w @ w.T + 2.0 * gl.constant(np.eye(3, dtype="float32"))
    loss = gl.sum(gl.solve(square, 1.5 * final[:, None])) + gl.sum(ys)
    step = gl.function([x], [loss, ys], updates={w: w - 0.1 * gl.grad(loss, w)})
    on_device = simulated(step)
    start = w.value
    for count in (0, 1, 4):
        feed = rng.normal(size=(count, 3)).astype("float32")
        w.value = start
        expected, after = step(feed), w.value
        w.value = start
        for a, b in zip(on_device([feed], [w]), expected, strict=True):
            np.testing.assert_allclose(a, b, 2e-5, 1e-5)
        np.testing.assert_allclose(w.value, after, 2e-5, 1e-5)


def test_without_a_gpu_one_error_says_what_was_found() -> None:
    try:
        cuda.require_gpu()
    except CudaUnavailableError as error:
        assert isinstance(error, RuntimeError)
        assert 'target="cuda" needs an NVIDIA GPU' in str(error)
        x = gl.placeholder((3,), name="x")
        with pytest.raises(CudaUnavailableError):
            gl.function([x], x + 1, target="cuda")
        return
    pytest.skip("there is a GPU")
