# pyright: standard
"""The systems that the stability table compares, each told its names for the formulas' words.

A system is a function of a formula and example inputs that returns a runner: a function of arrays
to the value and to the gradient by each float input that is no data, both as NumPy arrays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

Formula = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
Runner = Callable[..., tuple[Any, list[Any]]]
SAME = ("exp", "log", "log1p", "expm1", "sqrt", "sin", "cos", "sinh", "cosh", "tanh")


def gradloom_names() -> dict[str, Any]:
    import gradloom as gl

    names = (
        "erf erfc sigmoid softmax abs maximum minimum where not_equal stop_gradient sum max mean"
    )
    more = "prod matmul reshape concat take_along_axis arange flip broadcast_to"
    return {
        **{name: getattr(gl, name) for name in (*SAME, *names.split(), *more.split())},
        "transpose": lambda x: x.T,
        "float32": lambda x: x.astype("float32"),
        "float64": lambda x: x.astype("float64"),
    }


def run_gradloom(formula: Formula, inputs: Mapping[str, Any], by: list[str]) -> Runner:
    import gradloom as gl

    leaves = {
        name: gl.placeholder(array.shape, str(array.dtype), name=name)
        for name, array in inputs.items()
    }
    value = formula(gradloom_names(), leaves)
    cotangent = gl.placeholder(value.shape, name="cotangent")
    wanted = [leaves[name] for name in by]
    compiled = gl.function(
        [*leaves.values(), cotangent], [value, *gl.grad(gl.sum(value * cotangent), wanted)]
    )

    def run(arrays: Mapping[str, Any], cotangent: Any) -> tuple[Any, list[Any]]:
        found, *gradients = compiled(*arrays.values(), cotangent)
        return found, gradients

    return run


def run_torch(formula: Formula, inputs: Mapping[str, Any], by: list[str]) -> Runner:
    torch: Any = import_module("torch")

    def tensor(x: Any) -> Any:
        return x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=torch.float32)

    names = {
        **{name: getattr(torch, name) for name in (*SAME, "erf", "erfc", "sigmoid", "softmax")},
        "abs": torch.abs,
        "maximum": lambda x, y: torch.maximum(tensor(x), tensor(y)),
        "minimum": lambda x, y: torch.minimum(tensor(x), tensor(y)),
        "where": lambda c, x, y: torch.where(c, tensor(x), tensor(y)),
        "not_equal": torch.ne,
        "stop_gradient": lambda x: x.detach(),
        "sum": lambda x, axis=None, keepdims=False: torch.sum(x, axis, keepdims),
        "mean": lambda x, axis=None, keepdims=False: torch.mean(x, axis, keepdims),
        "prod": lambda x, axis: torch.prod(x, axis),
        "max": lambda x, axis=None, keepdims=False: torch.amax(
            x, tuple(range(x.ndim)) if axis is None else axis, keepdims
        ),
        "matmul": torch.matmul,
        "reshape": torch.reshape,
        "transpose": lambda x: x.T,
        "concat": lambda xs, axis: torch.cat(xs, axis),
        "take_along_axis": lambda x, i, axis: torch.take_along_dim(x, i, axis),
        "arange": torch.arange,
        "flip": lambda x, axis: torch.flip(x, (axis,)),
        "broadcast_to": torch.broadcast_to,
        "float32": lambda x: x.float(),
        "float64": lambda x: x.double(),
    }

    def run(arrays: Mapping[str, Any], cotangent: Any) -> tuple[Any, list[Any]]:
        leaves = {name: torch.tensor(array) for name, array in arrays.items()}
        for name in by:
            leaves[name].requires_grad_()
        value = formula(names, leaves)
        wanted = [leaves[name] for name in by]
        gradients = torch.autograd.grad((value * torch.tensor(cotangent)).sum(), wanted)
        return value.detach().numpy(), [gradient.numpy() for gradient in gradients]

    return run


def run_jax(formula: Formula, inputs: Mapping[str, Any], by: list[str]) -> Runner:
    jax: Any = import_module("jax")
    jnp: Any = import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)  # float32 stays float32; casts to float64 work
    words = (*SAME, "abs", "maximum", "minimum", "where", "not_equal", "sum", "max", "mean")
    more = ("prod", "matmul", "reshape", "transpose", "concat", "take_along_axis", "arange", "flip")
    names = {
        **{name: getattr(jnp, name) for name in (*words, *more, "broadcast_to")},
        **{name: getattr(jax.scipy.special, name) for name in ("erf", "erfc")},
        "sigmoid": jax.nn.sigmoid,
        "softmax": jax.nn.softmax,
        "stop_gradient": jax.lax.stop_gradient,
        "float32": lambda x: x.astype("float32"),
        "float64": lambda x: x.astype("float64"),
    }

    def loss(wanted: Any, rest: Any, cotangent: Any) -> Any:
        values = {name: wanted[name] if name in wanted else rest[name] for name in inputs}
        value = formula(names, values)
        return jnp.sum(value * cotangent), value

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def run(arrays: Mapping[str, Any], cotangent: Any) -> tuple[Any, list[Any]]:
        wanted = {name: arrays[name] for name in by}
        rest = {name: array for name, array in arrays.items() if name not in by}
        (_, value), gradients = step(wanted, rest, cotangent)
        return np.asarray(value), [np.asarray(gradients[name]) for name in by]

    return run


def run_pytensor(formula: Formula, inputs: Mapping[str, Any], by: list[str]) -> Runner:
    os.environ.setdefault("PYTENSOR_FLAGS", "floatX=float32")
    pytensor: Any = import_module("pytensor")
    pt: Any = import_module("pytensor.tensor")
    special: Any = import_module("pytensor.tensor.special")
    words = (*SAME, "erf", "erfc", "sigmoid", "abs", "maximum", "minimum", "where", "sum", "max")
    more = (
        "mean",
        "prod",
        "matmul",
        "reshape",
        "transpose",
        "take_along_axis",
        "arange",
        "broadcast_to",
    )
    names = {
        **{name: getattr(pt, name) for name in (*words, *more)},
        "softmax": special.softmax,
        "not_equal": pt.neq,
        "stop_gradient": pytensor.gradient.disconnected_grad,
        "concat": lambda xs, axis: pt.concatenate(xs, axis),
        "flip": lambda x, axis: x[(slice(None),) * (axis % x.ndim) + (slice(None, None, -1),)],
        "float32": lambda x: pt.cast(x, "float32"),
        "float64": lambda x: pt.cast(x, "float64"),
    }
    leaves = {
        name: pt.TensorType(str(array.dtype), shape=array.shape)(name)
        for name, array in inputs.items()
    }
    value = formula(names, leaves)
    cotangent = pt.TensorType("float32", shape=(None,) * value.ndim)("cotangent")
    wanted = [leaves[name] for name in by]
    gradients = pytensor.grad((value * cotangent).sum(), wanted, disconnected_inputs="ignore")
    step = pytensor.function(
        [*leaves.values(), cotangent], [value, *gradients], on_unused_input="ignore"
    )

    def run(arrays: Mapping[str, Any], cotangent: Any) -> tuple[Any, list[Any]]:
        found, *slopes = step(*arrays.values(), cotangent)
        return np.asarray(found), [np.asarray(slope) for slope in slopes]

    return run


SYSTEMS: dict[str, Callable[[Formula, Mapping[str, Any], list[str]], Runner]] = {
    "gradloom": run_gradloom,
    "torch": run_torch,
    "jax": run_jax,
    "pytensor": run_pytensor,
}


def installed() -> dict[str, str]:
    """The systems that can be imported here, with their versions."""
    found: dict[str, str] = {}
    for name in SYSTEMS:
        try:
            import_module(name)
        except ImportError as error:
            print(f"{name} is left out: {error}")
        else:
            found[name] = version(name)
    return found
