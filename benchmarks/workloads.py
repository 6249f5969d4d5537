"""The benchmark workloads: what is computed, and how each framework is told to compute it.

Every workload is float32 and one whole step.  `elementwise` is one long expression on three
vectors of 4 Mi elements; `mlp_small` and `mlp` are tanh networks with a softmax cross-entropy loss,
a step being forward, backward and plain gradient descent at a rate of 0.01 on a fixed batch; `lstm`
is a loop of 32 steps over 32 sequences at once, whose last state is classified, and learns alike.

Frameworks are imported when they are asked for, by name: none but gradloom need be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
RATE = 0.01


@dataclass(frozen=True)
class Workload:
    """Input arrays, and the parameters' initial values (weight, bias, weight, bias, …)."""

    inputs: list[Array]
    parameters: list[Array]


@dataclass(frozen=True)
class Runner:
    """A workload in one framework.

    step: does one step, returns its result (the loss, or the vector) once everything is computed.
    parameters: their present values, as NumPy arrays.
    reset: puts the initial values back.
    """

    step: Callable[[], Any]
    parameters: Callable[[], list[Array]]
    reset: Callable[[], None]


def glorot(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Normal values of variance 2 / (rows + columns), in float32."""
    values = rng.standard_normal((rows, columns)) * np.sqrt(2.0 / (rows + columns))
    return values.astype(np.float32)


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def network(rng: np.random.Generator, widths: Sequence[int]) -> list[Array]:
    """Glorot weights and zero biases."""
    layers = [[glorot(rng, m, n), np.zeros(n, np.float32)] for m, n in pairwise(widths)]
    return [array for layer in layers for array in layer]


# The order of the draws is part of a workload's definition: another order is other data.


def elementwise() -> Workload:
    rng = np.random.default_rng(0)
    return Workload([normal(rng, 1 << 22) for _ in range(3)], [])


def mlp_small() -> Workload:
    rng = np.random.default_rng(0)
    inputs = [normal(rng, 32, 64), rng.integers(0, 10, 32)]
    return Workload(inputs, network(rng, (64, 64, 10)))


def mlp() -> Workload:
    rng = np.random.default_rng(0)
    parameters = network(rng, (784, 512, 256, 10))
    return Workload([normal(rng, 128, 784), rng.integers(0, 10, 128)], parameters)


def lstm() -> Workload:
    """Parameters: weights by the input, weights by the state, their bias; the output layer."""
    rng = np.random.default_rng(0)
    width, hidden = 64, 128
    inputs = [normal(rng, 32, 32, width), rng.integers(0, 10, 32)]
    gates = [glorot(rng, width, 4 * hidden), glorot(rng, hidden, 4 * hidden)]
    gates.append(np.zeros(4 * hidden, np.float32))
    return Workload(inputs, [*gates, *network(rng, (hidden, 10))])


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "elementwise": elementwise,
    "mlp_small": mlp_small,
    "mlp": mlp,
    "lstm": lstm,
}


def run_gradloom(workload: Workload, threads: int) -> Runner:
    gl: Any = import_module("gradloom")  # takes the number of threads from GRADLOOM_THREADS
    if not workload.parameters:
        x, y, z = (gl.placeholder(("N",), name=name) for name in "xyz")
        result = gl.tanh(x * y + z) * gl.exp(-x) + gl.where(y > 0, y, 0) + gl.sigmoid(z)
        vectors = gl.function([x, y, z], result)
        return Runner(lambda: vectors(*workload.inputs), lambda: [], lambda: None)

    x = gl.placeholder(("B", *workload.inputs[0].shape[1:]), name="x")
    t = gl.placeholder(("B",), "int64", name="t")
    parameters = [gl.parameter(v, name=f"p{k}") for k, v in enumerate(workload.parameters)]
    w, b = parameters[-2:]
    h = x
    if x.ndim == 3:
        w_x, w_h, bias = parameters[:3]

        def cell(carry: tuple[Any, Any], x_t: Any) -> tuple[tuple[Any, Any], None]:
            h, s = carry
            i, f, o, u = gl.split(x_t @ w_x + h @ w_h + bias, 4, axis=1)
            s = gl.sigmoid(f) * s + gl.sigmoid(i) * gl.tanh(u)
            return (gl.sigmoid(o) * gl.tanh(s), s), None

        start = gl.zeros((x.shape[0], w_h.shape[0]))
        (h, _), _ = gl.scan(cell, (start, start), gl.moveaxis(x, 1, 0))
    else:
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            h = gl.tanh(h @ weight + bias)
    log_p = gl.log_softmax(h @ w + b, axis=1)
    loss = -gl.mean(gl.take_along_axis(log_p, t[:, None], axis=1))
    gradients = zip(parameters, gl.grad(loss, parameters), strict=True)
    step = gl.function([x, t], loss, updates={p: p - RATE * g for p, g in gradients})

    def reset() -> None:
        for parameter, value in zip(parameters, workload.parameters, strict=True):
            parameter.value = value

    return Runner(lambda: step(*workload.inputs), lambda: [p.value for p in parameters], reset)


def run_jax(workload: Workload, threads: int) -> Runner:
    jax: Any = import_module("jax")  # its pool is as large as the process's set of processors
    jnp: Any = import_module("jax.numpy")
    inputs = [jnp.asarray(array) for array in workload.inputs]
    if not workload.parameters:

        def formula(x: Any, y: Any, z: Any) -> Any:
            return jnp.tanh(x * y + z) * jnp.exp(-x) + jnp.where(y > 0, y, 0) + jax.nn.sigmoid(z)

        vectors = jax.jit(formula)
        return Runner(lambda: vectors(*inputs).block_until_ready(), lambda: [], lambda: None)

    def last_state(parameters: list[Any], x: Any) -> Any:
        w_x, w_h, bias = parameters

        def cell(carry: tuple[Any, Any], x_t: Any) -> tuple[tuple[Any, Any], None]:
            h, s = carry
            i, f, o, u = jnp.split(x_t @ w_x + h @ w_h + bias, 4, axis=1)
            s = jax.nn.sigmoid(f) * s + jax.nn.sigmoid(i) * jnp.tanh(u)
            return (jax.nn.sigmoid(o) * jnp.tanh(s), s), None

        start = jnp.zeros((x.shape[0], w_h.shape[0]), jnp.float32)
        (h, _), _ = jax.lax.scan(cell, (start, start), jnp.swapaxes(x, 0, 1))
        return h

    def loss(parameters: list[Any], x: Any, t: Any) -> Any:
        *inner, w, b = parameters
        if x.ndim == 3:
            x = last_state(inner, x)
        else:
            for weight, bias in zip(inner[::2], inner[1::2], strict=True):
                x = jnp.tanh(x @ weight + bias)
        log_p = jax.nn.log_softmax(x @ w + b)
        return -jnp.mean(jnp.take_along_axis(log_p, t[:, None], axis=1))

    def descend(parameters: list[Any], x: Any, t: Any) -> tuple[Any, list[Any]]:
        value, gradients = jax.value_and_grad(loss)(parameters, x, t)
        return value, [p - RATE * g for p, g in zip(parameters, gradients, strict=True)]

    compiled = jax.jit(descend, donate_argnums=0)
    state: list[Any] = []

    def reset() -> None:
        state[:] = [jnp.array(value) for value in workload.parameters]

    def step() -> Any:
        value, state[:] = compiled(list(state), *inputs)
        jax.block_until_ready(state)
        return value

    reset()
    return Runner(step, lambda: [np.array(p) for p in state], reset)


def run_torch(workload: Workload, threads: int) -> Runner:
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)
    inputs = [torch.from_numpy(array) for array in workload.inputs]
    if not workload.parameters:

        def vectors(x: Any, y: Any, z: Any) -> Any:
            return torch.tanh(x * y + z) * torch.exp(-x) + torch.relu(y) + torch.sigmoid(z)

        return Runner(lambda: vectors(*inputs), lambda: [], lambda: None)

    parameters = [torch.from_numpy(v.copy()).requires_grad_() for v in workload.parameters]
    *inner, w, b = parameters
    x, t = inputs

    def last_state() -> Any:
        w_x, w_h, bias = inner
        h = s = torch.zeros(x.shape[0], w_h.shape[0])
        for k in range(x.shape[1]):
            i, f, o, u = (x[:, k] @ w_x + h @ w_h + bias).chunk(4, 1)
            s = torch.sigmoid(f) * s + torch.sigmoid(i) * torch.tanh(u)
            h = torch.sigmoid(o) * torch.tanh(s)
        return h

    def reset() -> None:
        with torch.no_grad():
            for parameter, value in zip(parameters, workload.parameters, strict=True):
                parameter.copy_(torch.from_numpy(value))

    def step() -> Any:
        if x.ndim == 3:
            h = last_state()
        else:
            h = x
            for weight, bias in zip(inner[::2], inner[1::2], strict=True):
                h = torch.tanh(h @ weight + bias)
        loss = torch.nn.functional.cross_entropy(h @ w + b, t)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=RATE)
        return loss.detach()

    return Runner(step, lambda: [p.detach().numpy().copy() for p in parameters], reset)


def run_pytensor(workload: Workload, threads: int) -> Runner:
    if workload.inputs[0].ndim == 3:
        raise NotImplementedError("lstm is not written for pytensor")
    pytensor: Any = import_module("pytensor")  # its compiled code takes OMP_NUM_THREADS
    pt: Any = import_module("pytensor.tensor")
    pytensor.config.floatX = "float32"
    if not workload.parameters:
        x, y, z = (pt.fvector(name) for name in "xyz")
        result = pt.tanh(x * y + z) * pt.exp(-x) + pt.maximum(y, 0) + pt.sigmoid(z)
        vectors = pytensor.function([x, y, z], result, mode="NUMBA")
        return Runner(lambda: vectors(*workload.inputs), lambda: [], lambda: None)

    x, t = pt.fmatrix("x"), pt.lvector("t")
    parameters = [pytensor.shared(value) for value in workload.parameters]
    *hidden, (w, b) = zip(parameters[::2], parameters[1::2], strict=True)
    h = x
    for weight, bias in hidden:
        h = pt.tanh(h @ weight + bias)
    log_p = pt.special.log_softmax(h @ w + b, axis=1)
    loss = -pt.mean(log_p[pt.arange(t.shape[0]), t])
    gradients = pytensor.grad(loss, parameters)
    updates = [
        (p, (p - np.float32(RATE) * g).astype("float32"))
        for p, g in zip(parameters, gradients, strict=True)
    ]
    step = pytensor.function([x, t], loss, updates=updates, mode="NUMBA")

    def reset() -> None:
        for parameter, value in zip(parameters, workload.parameters, strict=True):
            parameter.set_value(value)

    return Runner(
        lambda: step(*workload.inputs), lambda: [p.get_value() for p in parameters], reset
    )


PEERS: dict[str, Callable[[Workload, int], Runner]] = {
    "jax": run_jax,
    "torch": run_torch,
    "pytensor": run_pytensor,
}
