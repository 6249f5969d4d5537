"""Parameters that cells begin with.

Weights of the input are uniform on ±√(6 / (I + H)) for each gate (Glorot and Bengio 2010), so that
entries neither fade nor saturate the units.  Each gate's weights of the state are an orthogonal
matrix (Saxe, McClelland and Ganguli 2014), which keeps the length of a state and of a cotangent
over the steps.  Biases are 0, but that of the forget gate, which begins open (Gers, Schmidhuber and
Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.dtypes import DTypeLike, as_dtype
from ...ir.errors import ArgumentError
from ...ir.explain import explained
from ..parameter import parameter

__all__ = ["gru_weights", "lstm_weights", "simple_weights"]

if TYPE_CHECKING:  # numpy.random takes its time to import
    Seed = int | np.random.Generator


def _orthogonal(rng: np.random.Generator, size: int) -> Any:
    """A random orthogonal matrix, each as likely as any other: QR, with R's diagonal positive."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)


def _weights(
    inputs: int, hidden: int, gates: int, seed: Seed, dtype: DTypeLike, name: str, **more: Any
) -> dict[str, Any]:
    """Parameters w, u, b, and arrays of zeros `more`; as a dict by name."""
    for what, size in (("inputs", inputs), ("hidden", hidden)):
        if not isinstance(size, int) or size < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"{what} is a number of units >= 1, got {size!r}")
    kind = as_dtype(dtype)
    if not kind.is_float:
        raise ArgumentError(f"weights are floats, got dtype {kind}")
    rng = np.random.default_rng(seed)
    bound = np.sqrt(6 / (inputs + hidden))
    arrays = {
        "w": rng.uniform(-bound, bound, (inputs, gates * hidden)),
        "u": np.concatenate([_orthogonal(rng, hidden) for _ in range(gates)], axis=1),
        "b": np.zeros(gates * hidden),
        **more,
    }
    return {
        key: parameter(array.astype(kind.numpy), f"{name}.{key}") for key, array in arrays.items()
    }


@explained
def simple_weights(
    inputs: int, hidden: int, seed: Seed = 0, dtype: DTypeLike = "float32", name: str = "simple"
) -> dict[str, Any]:
    """Parameters of `simple` and `leaky`: ``simple(**simple_weights(inputs, hidden))``.

    inputs, hidden: the sizes I and H.  seed: a number or a NumPy Generator.  name: the parameters
    are called name.w and so on.  ArgumentError for sizes < 1 and dtypes that are no floats.
    """
    return _weights(inputs, hidden, 1, seed, dtype, name)


@explained
def lstm_weights(
    inputs: int,
    hidden: int,
    seed: Seed = 0,
    dtype: DTypeLike = "float32",
    name: str = "lstm",
    peepholes: bool = False,
    coupled: bool = False,
    forget_bias: float = 1.0,
) -> dict[str, Any]:
    """Parameters of `lstm`: w, u, b, and with `peepholes` p, all 0.

    forget_bias: what the forget gate adds at first; coupled to the input gate, that adds it with
    the other sign, since f = 1 − i = σ(−zᵢ).  The rest is as in `simple_weights`.
    """
    gates = 3 if coupled else 4
    more = {"p": np.zeros((gates - 1, hidden))} if peepholes else {}
    made = _weights(inputs, hidden, gates, seed, dtype, name, **more)
    b = made["b"].value
    if coupled:
        b[:hidden] = -forget_bias
    else:
        b[hidden : 2 * hidden] = forget_bias
    made["b"].value = b
    return made


@explained
def gru_weights(
    inputs: int,
    hidden: int,
    seed: Seed = 0,
    dtype: DTypeLike = "float32",
    name: str = "gru",
    reset: str = "before",
) -> dict[str, Any]:
    """Parameters of `gru`: w, u, b, and where the reset comes "after" the product d, all 0.

    The rest is as in `simple_weights`.
    """
    more = {"d": np.zeros(hidden)} if reset == "after" else {}
    return _weights(inputs, hidden, 3, seed, dtype, name, **more)
