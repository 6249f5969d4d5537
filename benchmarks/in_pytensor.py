"""The workloads in PyTensor, compiled by Numba; it has no convolution of many images at once."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from workloads import EPSILON, HEADS, RATE, Runner, Workload, no_parameters

pytensor: Any = import_module("pytensor")  # its compiled code takes OMP_NUM_THREADS
pt: Any = import_module("pytensor.tensor")


def layers(x: Any, *parameters: Any) -> Any:
    *hidden, w, b = parameters
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        x = pt.tanh(x @ weight + bias)
    return x @ w + b


def lstm(x: Any, w_x: Any, w_h: Any, bias: Any, w: Any, b: Any) -> Any:
    def cell(x_t: Any, h: Any, s: Any, *_: Any) -> list[Any]:
        gates = x_t @ w_x + h @ w_h + bias
        i, f, o, u = (gates[:, k * width : (k + 1) * width] for k in range(4))
        s = pt.sigmoid(f) * s + pt.sigmoid(i) * pt.tanh(u)
        return [pt.sigmoid(o) * pt.tanh(s), s]

    width = w_h.get_value().shape[0]
    start = pt.zeros((x.shape[0], width), "float32")
    states, _ = pytensor.scan(
        cell, x.swapaxes(0, 1), [start, start], [w_x, w_h, bias], return_updates=False
    )
    return states[-1] @ w + b


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    variance = pt.mean(centred * centred, -1, keepdims=True)
    return centred / pt.sqrt(variance + np.float32(EPSILON)) * scale + shift


def attn(x: Any, *parameters: Any) -> Any:
    g1, s1, g2, s2, to_heads, from_heads, w1, b1, w2, b2, w, b = parameters
    width = to_heads.get_value().shape[0]
    size = (x.shape[0], x.shape[1], HEADS, width // HEADS)
    all_heads = layer_norm(x, g1, s1) @ to_heads
    parts = (all_heads[:, :, k * width : (k + 1) * width] for k in range(3))
    q, k, v = (part.reshape(size).swapaxes(1, 2) for part in parts)
    scores = q @ k.swapaxes(2, 3) / np.float32((width // HEADS) ** 0.5)
    heads = (pt.special.softmax(scores, -1) @ v).swapaxes(1, 2)
    h = x + heads.reshape(x.shape) @ from_heads
    u = layer_norm(h, g2, s2) @ w1 + b1
    cubic = u + np.float32(0.044715) * u * u * u
    gelu = np.float32(0.5) * u * (1 + pt.tanh(np.float32((2 / np.pi) ** 0.5) * cubic))
    return (h + gelu @ w2 + b2) @ w + b


MODELS = {"layers": layers, "lstm": lstm, "attn": attn}


def run_pytensor(workload: Workload, threads: int) -> Runner:
    pytensor.config.floatX = "float32"
    if workload.model == "elementwise":
        x, y, z = (pt.fvector(name) for name in "xyz")
        result = pt.tanh(x * y + z) * pt.exp(-x) + pt.maximum(y, 0) + pt.sigmoid(z)
        vectors = pytensor.function([x, y, z], result, mode="NUMBA")
        return no_parameters(lambda: vectors(*workload.inputs))
    if workload.model not in MODELS:
        raise NotImplementedError(f"{workload.model} cannot be said in pytensor")

    data, targets = workload.inputs
    x = pt.tensor("x", dtype="float32", shape=(None, *data.shape[1:]))
    t = pt.tensor("t", dtype="int64", shape=(None,) * targets.ndim)
    parameters = [pytensor.shared(value) for value in workload.parameters]
    logits = MODELS[workload.model](x, *parameters)
    log_p = pt.special.log_softmax(logits, axis=-1).reshape((t.size, logits.shape[-1]))
    loss = -pt.mean(log_p[pt.arange(t.size), t.flatten()])
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
