"""The workloads in JAX."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from workloads import EPSILON, HEADS, RATE, Runner, Workload, no_parameters

jax: Any = import_module("jax")  # its pool is as large as the process's set of processors
jnp: Any = import_module("jax.numpy")


def layers(x: Any, *parameters: Any) -> Any:
    *hidden, w, b = parameters
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        x = jnp.tanh(x @ weight + bias)
    return x @ w + b


def cnn(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, w: Any, b: Any) -> Any:
    window = (1, 1, 2, 2)
    for kernel, bias in ((w1, b1), (w2, b2)):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME") + bias[:, None, None]
        x = jax.lax.reduce_window(jax.nn.relu(x), -jnp.inf, jax.lax.max, window, window, "VALID")
    return x.reshape(x.shape[0], -1) @ w + b


def lstm(x: Any, w_x: Any, w_h: Any, bias: Any, w: Any, b: Any) -> Any:
    def cell(carry: tuple[Any, Any], x_t: Any) -> tuple[tuple[Any, Any], None]:
        h, s = carry
        i, f, o, u = jnp.split(x_t @ w_x + h @ w_h + bias, 4, axis=1)
        s = jax.nn.sigmoid(f) * s + jax.nn.sigmoid(i) * jnp.tanh(u)
        return (jax.nn.sigmoid(o) * jnp.tanh(s), s), None

    start = jnp.zeros((x.shape[0], w_h.shape[0]), jnp.float32)
    (h, _), _ = jax.lax.scan(cell, (start, start), jnp.swapaxes(x, 0, 1))
    return h @ w + b


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + EPSILON) * scale + shift


def attn(x: Any, *parameters: Any) -> Any:
    g1, s1, g2, s2, to_heads, from_heads, w1, b1, w2, b2, w, b = parameters
    size = (*x.shape[:2], HEADS, x.shape[2] // HEADS)
    parts = jnp.split(layer_norm(x, g1, s1) @ to_heads, 3, -1)
    q, k, v = (part.reshape(size).swapaxes(1, 2) for part in parts)
    weights = jax.nn.softmax(q @ k.swapaxes(2, 3) / size[3] ** 0.5, -1)
    h = x + (weights @ v).swapaxes(1, 2).reshape(x.shape) @ from_heads
    h = h + jax.nn.gelu(layer_norm(h, g2, s2) @ w1 + b1, approximate=True) @ w2 + b2
    return h @ w + b


MODELS = {"layers": layers, "cnn": cnn, "lstm": lstm, "attn": attn}


def run_jax(workload: Workload, threads: int) -> Runner:
    inputs = [jnp.asarray(array) for array in workload.inputs]
    if workload.model == "elementwise":

        def formula(x: Any, y: Any, z: Any) -> Any:
            return jnp.tanh(x * y + z) * jnp.exp(-x) + jnp.where(y > 0, y, 0) + jax.nn.sigmoid(z)

        vectors = jax.jit(formula)
        return no_parameters(lambda: vectors(*inputs).block_until_ready(), vectors)

    def loss(parameters: list[Any], x: Any, t: Any) -> Any:
        log_p = jax.nn.log_softmax(MODELS[workload.model](x, *parameters))
        return -jnp.mean(jnp.take_along_axis(log_p, t[..., None], axis=-1))

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
    return Runner(step, lambda: [np.array(p) for p in state], reset, compiled)
