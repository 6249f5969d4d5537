"""The workloads in PyTorch: as it runs by itself, and by way of torch.compile."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from workloads import EPSILON, HEADS, RATE, Runner, Workload, no_parameters

torch: Any = import_module("torch")
functional: Any = torch.nn.functional


def layers(x: Any, *parameters: Any) -> Any:
    *hidden, w, b = parameters
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        x = torch.tanh(x @ weight + bias)
    return x @ w + b


def cnn(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, w: Any, b: Any) -> Any:
    for kernel, bias in ((w1, b1), (w2, b2)):
        x = functional.relu(functional.conv2d(x, kernel, bias, padding="same"))
        x = functional.max_pool2d(x, 2)
    return x.flatten(1) @ w + b


def lstm(x: Any, w_x: Any, w_h: Any, bias: Any, w: Any, b: Any) -> Any:
    h = s = torch.zeros(x.shape[0], w_h.shape[0])
    for k in range(x.shape[1]):
        i, f, o, u = (x[:, k] @ w_x + h @ w_h + bias).chunk(4, 1)
        s = torch.sigmoid(f) * s + torch.sigmoid(i) * torch.tanh(u)
        h = torch.sigmoid(o) * torch.tanh(s)
    return h @ w + b


def attn(x: Any, *parameters: Any) -> Any:
    g1, s1, g2, s2, to_heads, from_heads, w1, b1, w2, b2, w, b = parameters
    size = (*x.shape[:2], HEADS, x.shape[2] // HEADS)
    width = x.shape[2:]
    parts = (functional.layer_norm(x, width, g1, s1, EPSILON) @ to_heads).chunk(3, -1)
    q, k, v = (part.reshape(size).transpose(1, 2) for part in parts)
    weights = torch.softmax(q @ k.transpose(2, 3) / size[3] ** 0.5, -1)
    h = x + (weights @ v).transpose(1, 2).reshape(x.shape) @ from_heads
    inner = functional.layer_norm(h, width, g2, s2, EPSILON) @ w1 + b1
    h = h + functional.gelu(inner, approximate="tanh") @ w2 + b2
    return h @ w + b


MODELS = {"layers": layers, "cnn": cnn, "lstm": lstm, "attn": attn}


def vectors(x: Any, y: Any, z: Any) -> Any:
    return torch.tanh(x * y + z) * torch.exp(-x) + torch.relu(y) + torch.sigmoid(z)


def run_torch(workload: Workload, threads: int, compiled: bool = False) -> Runner:
    torch.set_num_threads(threads)
    inputs = [torch.from_numpy(array) for array in workload.inputs]
    if workload.model == "elementwise":
        formula = torch.compile(vectors) if compiled else vectors
        return no_parameters(lambda: formula(*inputs))

    parameters = [torch.from_numpy(v.copy()).requires_grad_() for v in workload.parameters]
    x, t = inputs

    def loss_of(*parameters: Any) -> Any:
        logits = MODELS[workload.model](x, *parameters)
        return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), t.flatten())

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def reset() -> None:
        with torch.no_grad():
            for parameter, value in zip(parameters, workload.parameters, strict=True):
                parameter.copy_(torch.from_numpy(value))

    def step() -> Any:
        loss = loss_of(*parameters)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=RATE)
        return loss.detach()

    return Runner(step, lambda: [p.detach().numpy().copy() for p in parameters], reset)


def run_torch_compile(workload: Workload, threads: int) -> Runner:
    return run_torch(workload, threads, compiled=True)
