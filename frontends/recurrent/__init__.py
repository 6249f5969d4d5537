"""``gradloom.recurrent``: recurrent networks, as plain functions for `scan`.

A cell is a function ``cell(carry, x) -> (carry, y)``, so ``gl.scan(cell, init, xs)`` is a layer.
`simple`, `leaky`, `lstm` and `gru` make cells of weights, which are any tensors; `simple_weights`,
`lstm_weights` and `gru_weights` make parameters to begin with; `stacked` and `feedback` make cells
of cells, `bidirectional` is two scans.  The network that gives one output at the end needs no
function: it is the last carry that `scan` returns, with `lengths` that of each sample's own end.

Sizes: x is [I] or [batch, I], a state [H] or [batch, H]; the weights of k gates are w [I, k·H],
u [H, k·H] and b [k·H], one gate behind the other.  PyTorch's are transposed, in the same order:
w = weight_ih.T, u = weight_hh.T, b = bias_ih + bias_hh (but see `gru`).
"""

from . import cells as _cells
from . import networks as _networks
from . import weights as _weights
from .cells import *  # noqa: F403
from .networks import *  # noqa: F403
from .weights import *  # noqa: F403

__all__: list[str] = []
__all__ += _cells.__all__
__all__ += _networks.__all__
__all__ += _weights.__all__
