# pyright: standard
# ruff: noqa: E402  (torch decides whether there is anything to import for)
"""Recurrent networks against PyTorch, where it is installed, with its own weights: values and
gradients of layers of one and both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradloom as gl

from .op_cases import close

NumpyArray = np.ndarray[Any, Any]
R = gl.recurrent
LAYERS = {"simple": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def weights_of(layer: Any, kind: str, suffix: str) -> dict[str, NumpyArray]:
    """PyTorch's weights as `gl.recurrent` takes them."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, c = (getattr(layer, f"{n}_{suffix}").detach().numpy() for n in names)
    if kind != "gru":
        return {"w": w.T, "u": u.T, "b": b + c}
    size = len(u.T)
    inner = np.where(np.arange(3 * size) < 2 * size, c, 0)
    return {"w": w.T, "u": u.T, "b": b + inner, "d": c[2 * size :]}


def slopes_of(layer: Any, kind: str, suffix: str) -> dict[str, NumpyArray]:
    """PyTorch's gradients in the same places."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, c = (getattr(layer, f"{n}_{suffix}").grad.numpy() for n in names)
    found = {"w": w.T, "u": u.T, "b": b}
    return {**found, "d": c[2 * len(u.T) :]} if kind == "gru" else found


def cell_of(kind: str, weights: dict[str, Any]) -> Any:
    if kind == "gru":
        return R.gru(**weights, reset="after")
    return (R.lstm if kind == "lstm" else R.simple)(**weights)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("length", "batch", "inputs", "hidden"), [(7, 3, 5, 4), (1, 1, 2, 3), (4, 2, 1, 1)]
)
def test_a_layer_is_torchs(kind: str, length: int, batch: int, inputs: int, hidden: int) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind](inputs, hidden, dtype=torch.float64)
    values = np.random.default_rng(0).normal(size=(length, batch, inputs))
    states = np.random.default_rng(1).normal(size=(2, 1, batch, hidden))
    xs_ = torch.tensor(values, requires_grad=True)
    pair = tuple(torch.tensor(s) for s in states)
    ys_, last_ = layer(xs_, pair if kind == "lstm" else pair[0])
    state_ = last_[1] if kind == "lstm" else last_
    (torch.sum(ys_ * torch.sin(ys_)) + torch.sum(state_**2)).backward()

    arrays = weights_of(layer, kind, "l0")
    weights = {key: gl.placeholder(a.shape, "float64", key) for key, a in arrays.items()}
    xs = gl.placeholder((length, batch, inputs), "float64", "xs")
    first = [gl.constant(s[0]) for s in states]
    init = tuple(first) if kind == "lstm" else first[0]
    last, ys = gl.scan(cell_of(kind, weights), init, xs)
    state = last[1] if kind == "lstm" else last
    loss = gl.sum(ys * gl.sin(ys)) + gl.sum(gl.square(state))
    slopes = gl.grad(loss, {**weights, "xs": xs})
    got = gl.function([xs, *weights.values()], [ys, state, slopes])(values, *arrays.values())
    close(got[0], ys_.detach().numpy())
    close(got[1], state_[0].detach().numpy())
    close(got[2].pop("xs"), xs_.grad.numpy())  # pyright: ignore[reportOptionalMemberAccess]
    for name, slope in slopes_of(layer, kind, "l0").items():
        close(got[2][name], slope)


@pytest.mark.parametrize("kind", LAYERS)
def test_two_layers_of_both_directions_are_torchs(kind: str) -> None:
    """The second layer reads both directions of the first."""
    torch.manual_seed(1)
    layer = LAYERS[kind](3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    values = np.random.default_rng(2).normal(size=(6, 2, 3))
    wanted, _ = layer(torch.tensor(values))
    xs: Any = gl.placeholder((6, 2, 3), "float64", "xs")
    zeros = gl.zeros((2, 4), "float64")
    init = (zeros, zeros) if kind == "lstm" else zeros
    ys = xs
    for depth in ("l0", "l1"):
        names = (f"{depth}{way}" for way in ("", "_reverse"))
        ahead, back = (cell_of(kind, weights_of(layer, kind, name)) for name in names)
        _, ys = R.bidirectional(ahead, back, (init, init), ys)
    close(gl.function([xs], ys)(values), wanted.detach().numpy())


@pytest.mark.parametrize("kind", LAYERS)
def test_lengths_are_those_of_a_packed_sequence(kind: str) -> None:
    """Values, states at each sample's own end, and the gradient by the input; padding is nan."""
    torch.manual_seed(2)
    layer = LAYERS[kind](3, 4, bidirectional=True, dtype=torch.float64)
    counts = [2, 6, 1, 4]
    values = np.random.default_rng(3).normal(size=(6, 4, 3))
    xs_ = torch.tensor(values, requires_grad=True)
    utils = torch.nn.utils.rnn
    packed, ends_ = layer(utils.pack_padded_sequence(xs_, counts, enforce_sorted=False))
    ys_, _ = utils.pad_packed_sequence(packed)
    ends_ = ends_[0] if kind == "lstm" else ends_
    (torch.sum(ys_ * torch.sin(ys_)) + torch.sum(ends_**2)).backward()

    xs = gl.placeholder((6, 4, 3), "float64", "xs")
    lengths = gl.placeholder((4,), "int64", "lengths")
    zeros = gl.zeros((4, 4), "float64")
    init = (zeros, zeros) if kind == "lstm" else zeros
    cells = [cell_of(kind, weights_of(layer, kind, f"l0{way}")) for way in ("", "_reverse")]
    ends, ys = R.bidirectional(cells[0], cells[1], (init, init), xs, lengths)
    ends = [end[0] if kind == "lstm" else end for end in ends]
    loss = gl.sum(ys * gl.sin(ys)) + gl.sum(gl.square(ends[0])) + gl.sum(gl.square(ends[1]))
    padded = np.where(np.arange(6)[:, None, None] < np.array(counts)[:, None], values, np.nan)
    got = gl.function([xs, lengths], [ys, *ends, gl.grad(loss, xs)])(padded, counts)
    wanted = [ys_, ends_[0], ends_[1], xs_.grad]
    for one, other in zip(got, wanted, strict=True):
        close(one, other.detach().numpy())
