"""The workloads in gradloom."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from workloads import EPSILON, HEADS, RATE, Runner, Workload, no_parameters

gl: Any = import_module("gradloom")


def layers(x: Any, *parameters: Any) -> Any:
    *hidden, w, b = parameters
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        x = gl.tanh(x @ weight + bias)
    return x @ w + b


def cnn(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, w: Any, b: Any) -> Any:
    for kernel, bias in ((w1, b1), (w2, b2)):
        x = gl.nn.conv2d(x, kernel, padding="same") + bias[:, None, None]
        x = gl.nn.max_pool2d(gl.relu(x), 2)
    return x.reshape((x.shape[0], w.shape[0])) @ w + b


def lstm(x: Any, w_x: Any, w_h: Any, bias: Any, w: Any, b: Any) -> Any:
    def cell(carry: tuple[Any, Any], x_t: Any) -> tuple[tuple[Any, Any], None]:
        h, s = carry
        i, f, o, u = gl.split(x_t @ w_x + h @ w_h + bias, 4, axis=1)
        s = gl.sigmoid(f) * s + gl.sigmoid(i) * gl.tanh(u)
        return (gl.sigmoid(o) * gl.tanh(s), s), None

    start = gl.zeros((x.shape[0], w_h.shape[0]))
    (h, _), _ = gl.scan(cell, (start, start), gl.moveaxis(x, 1, 0))
    return h @ w + b


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - gl.mean(x, axis=-1, keepdims=True)
    variance = gl.mean(gl.square(centred), axis=-1, keepdims=True)
    return centred / gl.sqrt(variance + EPSILON) * scale + shift


def attn(x: Any, *parameters: Any) -> Any:
    g1, s1, g2, s2, to_heads, from_heads, w1, b1, w2, b2, w, b = parameters
    size = (*x.shape[:2], HEADS, x.shape[2] // HEADS)
    parts = gl.split(layer_norm(x, g1, s1) @ to_heads, 3, axis=-1)
    q, k, v = (gl.moveaxis(part.reshape(size), 2, 1) for part in parts)
    weights = gl.softmax(q @ gl.moveaxis(k, 3, 2) / size[3] ** 0.5, axis=-1)
    h = x + gl.moveaxis(weights @ v, 1, 2).reshape(x.shape) @ from_heads
    h = h + gl.gelu(layer_norm(h, g2, s2) @ w1 + b1, approximate=True) @ w2 + b2
    return h @ w + b


MODELS = {"layers": layers, "cnn": cnn, "lstm": lstm, "attn": attn}


def run_gradloom(workload: Workload, threads: int) -> Runner:
    if workload.model == "elementwise":
        x, y, z = (gl.placeholder(("N",), name=name) for name in "xyz")
        result = gl.tanh(x * y + z) * gl.exp(-x) + gl.where(y > 0, y, 0) + gl.sigmoid(z)
        vectors = gl.function([x, y, z], result, threads=threads)
        return no_parameters(lambda: vectors(*workload.inputs), vectors)

    x, t, parameters, loss = network(workload)
    step = gl.function([x, t], loss, descent(loss, parameters), threads=threads)

    def reset() -> None:
        for parameter, value in zip(parameters, workload.parameters, strict=True):
            parameter.value = value

    return Runner(
        lambda: step(*workload.inputs), lambda: [p.value for p in parameters], reset, step
    )


def network(workload: Workload) -> tuple[Any, Any, list[Any], Any]:
    """Inputs, targets, parameters, and the loss."""
    x = gl.placeholder(("B", *workload.inputs[0].shape[1:]), name="x")
    t = gl.placeholder(("B", *workload.inputs[1].shape[1:]), "int64", name="t")
    parameters = [gl.parameter(v, name=f"p{k}") for k, v in enumerate(workload.parameters)]
    log_p = gl.log_softmax(MODELS[workload.model](x, *parameters), axis=-1)
    return x, t, parameters, -gl.mean(gl.take_along_axis(log_p, t[..., None], axis=-1))


def descent(loss: Any, parameters: list[Any]) -> dict[Any, Any]:
    """The new values of parameters."""
    gradients = gl.grad(loss, parameters)
    return {p: p - RATE * g for p, g in zip(parameters, gradients, strict=True)}
