"""The cells: functions of weights that give a function of a carry and an entry.

σ is the logistic function, ∘ the product entry by entry; h and c are those of the step before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dims import DimLike
from ...ir.errors import ArgumentError, ShapeError
from ...ir.explain import explained
from ...ir.ops import as_tensor, sigmoid, split, tanh
from ...ir.shapes import unify
from ...ir.tensor import Tensor, TensorLike

__all__ = ["gru", "leaky", "lstm", "simple"]

Cell = Callable[[Any, Any], tuple[Any, Any]]


class _Gates:
    """What the gates of a cell have in common: x w + h u + b, checked, and its parts."""

    def __init__(
        self, count: int, w: TensorLike, u: TensorLike, b: TensorLike | None, names: str
    ) -> None:
        self.count, self.names = count, names
        self.w, self.u = as_tensor(w), as_tensor(u)
        self.b = None if b is None else as_tensor(b)
        if self.w.ndim != 2 or self.u.ndim != 2:
            raise ShapeError(f"w and u are matrices, got {self.w.type} and {self.u.type}")
        self.inputs, self.hidden = self.w.shape[0], self.u.shape[0]
        self._fits("u", self.u, self.u.shape[1])
        self._fits("w", self.w, self.w.shape[1])
        if self.b is not None:
            if self.b.ndim != 1:
                raise ShapeError(f"b has one axis, got {self.b.type}")
            self._fits("b", self.b, self.b.shape[0])

    def _fits(self, name: str, tensor: Tensor, size: DimLike) -> None:
        wanted = self.count * self.hidden
        gates = f"the {self.count} gates ({self.names})" if self.count > 1 else "states"
        unify(size, wanted, f"columns of {name}, {tensor.type}, and {gates} of size {self.hidden}")

    def of_input(self, x: Any) -> Tensor:
        """x w + b."""
        entry = as_tensor(x)
        self.check("x", entry, self.inputs)
        product = entry @ self.w
        return product if self.b is None else product + self.b

    def of(self, x: Any, h: Any) -> list[Tensor]:
        """x w + h u + b, a tensor for each gate."""
        self.check("the state", as_tensor(h), self.hidden)
        return self.parts(self.of_input(x) + h @ self.u)

    def parts(self, packed: Tensor) -> list[Tensor]:
        return list(split(packed, self.count, axis=-1)) if self.count > 1 else [packed]

    def check(self, name: str, tensor: Tensor, size: DimLike) -> None:
        if tensor.ndim == 0:
            raise ShapeError(f"{name} has no axis: {tensor.type}")
        unify(tensor.shape[-1], size, f"sizes of {name}, {tensor.type}, and of the weights")


def _cell(name: str, step: Cell) -> Cell:
    """The step, whose errors name the cell and the user's line."""
    step.__name__ = name
    return explained(step)


@explained
def simple(
    w: TensorLike,
    u: TensorLike,
    b: TensorLike | None = None,
    activation: Callable[[Tensor], Tensor] = tanh,
) -> Cell:
    """The simple recurrent network: h' = activation(x w + h u + b), which is also y.

    w: [I, H].  u: [H, H].  b: [H] or None.  carry: h.
    ShapeError where sizes do not fit.  Elman, Finding structure in time (1990).
    """
    gates = _Gates(1, w, u, b, "")

    def step(carry: Any, x: Any) -> tuple[Tensor, Tensor]:
        h = activation(gates.of(x, carry)[0])
        return h, h

    return _cell("simple", step)


@explained
def leaky(w: TensorLike, u: TensorLike, b: TensorLike | None, rate: TensorLike) -> Cell:
    """Units that leak: h' = (1 − a) ∘ h + a ∘ tanh(x w + h u + b), which is also y.

    w: [I, H].  u: [H, H].  b: [H] or None.  rate: a, a number, a scalar or [H]; units of small a
    change slowly and remember long.  At a = 1 it is `simple`.  carry: h.
    ShapeError where sizes do not fit.  Jaeger et al., Optimization and applications of echo state
    networks with leaky-integrator neurons (2007).
    """
    gates = _Gates(1, w, u, b, "")

    def step(carry: Any, x: Any) -> tuple[Tensor, Tensor]:
        h = (1 - rate) * carry + rate * tanh(gates.of(x, carry)[0])
        return h, h

    return _cell("leaky", step)


@explained
def lstm(
    w: TensorLike,
    u: TensorLike,
    b: TensorLike | None = None,
    p: TensorLike | None = None,
    coupled: bool = False,
) -> Cell:
    """Long short-term memory; with z = x w + h u + b and its four parts in this order,

        i = σ(zᵢ + pᵢ ∘ c)     f = σ(z_f + p_f ∘ c)     g = tanh(z_g)
        c' = f ∘ c + i ∘ g     o = σ(zₒ + pₒ ∘ c')      h' = o ∘ tanh(c')

    carry: (h, c), and y is h'.  w: [I, 4H].  u: [H, 4H].  b: [4H] or None.
    p: the peepholes pᵢ, p_f, pₒ, [3, H], or None for zeros.
    coupled: f = 1 − i, so there are three parts (i, g, o) and two peepholes (i, o).

    ArgumentError for a carry that is no pair, ShapeError where sizes do not fit.
    Hochreiter and Schmidhuber, Long short-term memory (1997); the forget gate is of Gers,
    Schmidhuber and Cummins (2000), peepholes of Gers and Schmidhuber, Recurrent nets that time and
    count (2000), coupled gates are in Greff et al., LSTM: a search space odyssey (2017).
    """
    gates = _Gates(3, w, u, b, "i, g, o") if coupled else _Gates(4, w, u, b, "i, f, g, o")
    peepholes = None if p is None else as_tensor(p)
    if peepholes is not None:
        count = gates.count - 1
        if peepholes.ndim != 2 or peepholes.shape[0] != count:
            raise ShapeError(f"peepholes are [{count}, {gates.hidden}], got {peepholes.type}")
        gates.check("peepholes", peepholes, gates.hidden)

    def step(carry: Any, x: Any) -> tuple[tuple[Tensor, Tensor], Tensor]:
        if not isinstance(carry, (tuple, list)) or len(carry) != 2:  # pyright: ignore[reportUnknownArgumentType]
            raise ArgumentError(f"the carry of an LSTM is a pair (h, c), got {carry!r}")
        h, c = map(as_tensor, carry)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        gates.check("c", c, gates.hidden)
        parts = gates.of(x, h)
        if peepholes is not None:
            for gate in range(gates.count - 2):  # i, and f unless it is coupled
                parts[gate] = parts[gate] + peepholes[gate] * c
        i = sigmoid(parts[0])
        f = 1 - i if coupled else sigmoid(parts[1])
        g, o = parts[-2:]
        c = f * c + i * tanh(g)
        h = sigmoid(o if peepholes is None else o + peepholes[-1] * c) * tanh(c)
        return (h, c), h

    return _cell("lstm", step)


@explained
def gru(
    w: TensorLike,
    u: TensorLike,
    b: TensorLike | None = None,
    d: TensorLike | None = None,
    reset: str = "before",
) -> Cell:
    """The gated recurrent unit; each of w, u and b has three parts in this order: r, z, n.

        r = σ(x w_r + h u_r + b_r)     z = σ(x w_z + h u_z + b_z)
        n = tanh(x wₙ + (r ∘ h) uₙ + bₙ)          reset="before" the product
        n = tanh(x wₙ + r ∘ (h uₙ + d) + bₙ)      reset="after" it
        h' = (1 − z) ∘ n + z ∘ h

    carry: h, and y is h'.  w: [I, 3H].  u: [H, 3H].  b: [3H] or None.  d: [H] or None, only where
    the reset comes after the product.  There is one product less in a row then, and it is the
    variant of PyTorch and cuDNN, where b is bias_ih + bias_hh for r and z, but for n it is
    bias_ih alone, and the last third of bias_hh is d.

    ArgumentError for another `reset`, or a `d` that is not used; ShapeError where sizes do not fit.
    Cho et al., Learning phrase representations using RNN encoder-decoder (2014).
    """
    if reset not in ("before", "after"):
        raise ArgumentError(f"reset is 'before' or 'after' the product, got {reset!r}")
    gates = _Gates(3, w, u, b, "r, z, n")
    inner = None if d is None else as_tensor(d)
    if inner is not None:
        if reset == "before":
            raise ArgumentError("d is used where the reset comes after the product only")
        gates.check("d", inner, gates.hidden)
    h_size = gates.hidden

    def step(carry: Any, x: Any) -> tuple[Tensor, Tensor]:
        h = as_tensor(carry)
        gates.check("the state", h, h_size)
        r, z, n = gates.parts(gates.of_input(x))
        if reset == "before":
            for_r, for_z = split(h @ gates.u[:, : 2 * h_size], 2, axis=-1)
            inside = (sigmoid(r + for_r) * h) @ gates.u[:, 2 * h_size :]
        else:
            for_r, for_z, for_n = gates.parts(h @ gates.u)
            inside = sigmoid(r + for_r) * (for_n if inner is None else for_n + inner)
        z = sigmoid(z + for_z)
        h = (1 - z) * tanh(n + inside) + z * h
        return h, h

    return _cell("gru", step)
