# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A call of each differentiable public function that is no entry of the table but made of some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradloom as gl
from gradloom.ir.ops import fft

R, L, NN = gl.random, gl.linalg, gl.nn
KEY = gl.random.key(5)
Shape = tuple[int, ...]
Row = tuple[Callable[..., Any], *tuple[Shape, ...]]


def _positive(x: Any) -> Any:
    return gl.exp(0.3 * x) + 0.1


def _draw(name: str) -> Row:
    """Of a distribution by location and scale: the draw as a function of both."""
    return lambda a, b: getattr(R, name)(KEY, (4, 3), a, _positive(b)), (3,), (4, 1)


PLACES = gl.constant([[2, 0], [1, 1], [3, 0]], "int64")

PUBLIC: dict[str, Row] = {
    "absolute": (gl.absolute, (5,)),
    "amax": (lambda x: gl.amax(x, axis=1), (3, 4)),
    "amin": (lambda x: gl.amin(x, axis=0), (3, 4)),
    "associative_scan": (lambda x: gl.associative_scan(lambda a, b: a @ b, x), (5, 2, 2)),
    "cond": (lambda x, w: gl.cond(gl.sum(x) > 0, lambda: x @ w, lambda: gl.exp(x)), (3,), (3, 3)),
    "broadcast_arrays": (lambda x, y: gl.broadcast_arrays(x, y), (3, 1), (4,)),
    "celu": (lambda x: gl.celu(x, 0.7), (6,)),
    "check": (lambda x: gl.check(x, x < 9.0, "small"), (4,)),
    "clip": (lambda x, a, b: gl.clip(x, a - 0.5, b + 0.5), (3, 4), (4,), ()),
    "concatenate": (lambda x, y: gl.concatenate([x, y], axis=1), (2, 3), (2, 1)),
    "cumprod": (lambda x: gl.cumprod(x, axis=0), (3, 4)),
    "cumsum": (lambda x: gl.cumsum(x, axis=1), (3, 4)),
    "diff": (lambda x: gl.diff(x * x, n=2, axis=0), (5, 2)),
    "dot": (gl.dot, (3, 4), (4,)),
    "dynamic_slice": (lambda x: gl.dynamic_slice(x * x, [1, 0], [2, 3]), (4, 3)),
    "dynamic_update_slice": (
        lambda x, y: gl.dynamic_update_slice(x, y * x[:2], [1, 0]),
        (4, 3),
        (2, 3),
    ),
    "einsum": (lambda x, y, z: gl.einsum("ij,jk,ki->i", x, y, z), (2, 3), (3, 4), (4, 2)),
    "elu": (lambda x: gl.elu(x, 1.5), (6,)),
    "expand": (lambda x: gl.expand(x, (3, 4)), (4,)),
    "erfcx": (gl.erfcx, (6,)),
    "expand_dims": (lambda x: gl.expand_dims(x, 1), (4,)),
    "flip": (lambda x: gl.flip(x, axis=1), (2, 3)),
    "full": (lambda x: gl.full((2, 3), x), ()),
    "full_like": (lambda x, y: gl.full_like(x, y), (2, 3), ()),
    "gelu": (lambda x: gl.gelu(x) + gl.gelu(x, approximate=True), (6,)),
    "getitem": (lambda x: x[1:, PLACES[:, 0] % 3] * x[0, -1], (3, 4)),
    "hard_sigmoid": (gl.hard_sigmoid, (6,)),
    "hard_silu": (gl.hard_silu, (6,)),
    "hard_tanh": (gl.hard_tanh, (6,)),
    "leaky_relu": (gl.leaky_relu, (6,)),
    "linspace": (lambda a, b: gl.linspace(a, b, 5), (), ()),
    "log_sigmoid": (gl.log_sigmoid, (6,)),
    "map": (lambda x: gl.map(lambda v: gl.sin(v) @ v, x), (3, 4)),
    "matrix_transpose": (gl.matrix_transpose, (2, 3)),
    "mean": (lambda x: gl.mean(x * x, axis=0), (3, 4)),
    "meshgrid": (lambda x, y: gl.meshgrid(x, y), (3,), (2,)),
    "mish": (gl.mish, (6,)),
    "mod": (lambda x, y: gl.mod(x, _positive(y)), (5,), (5,)),
    "moveaxis": (lambda x: gl.moveaxis(x, 0, -1), (2, 3, 2)),
    "pad": (lambda x: [gl.pad(x, 1, m) for m in ("constant", "edge", "reflect")], (3, 3)),
    "permute_dims": (lambda x: gl.permute_dims(x, (1, 0)), (2, 3)),
    "positive": (gl.positive, (3,)),
    "power": (lambda x, y: gl.power(_positive(x), y), (4,), (4,)),
    "prelu": (gl.prelu, (3, 4), (4,)),
    "put_along_axis": (lambda x, y: gl.put_along_axis(x, PLACES[:, :1], y, axis=1), (3, 4), (3, 1)),
    "real": (gl.real, (3,)),
    "reciprocal": (lambda x: gl.reciprocal(_positive(x)), (4,)),
    "relu6": (lambda x: gl.relu6(4 * x), (6,)),
    "repeat": (lambda x: gl.repeat(x, [2, 0, 1], axis=0), (3, 2)),
    "roll": (lambda x: gl.roll(x, 1, axis=0), (3, 2)),
    "selu": (gl.selu, (6,)),
    "silu": (gl.silu, (6,)),
    "sinc": (gl.sinc, (6,)),
    "sort": (lambda x: gl.sort(x, axis=1), (3, 4)),
    "split": (lambda x: gl.split(x, 2, axis=1), (3, 4)),
    "squeeze": (lambda x: gl.squeeze(x, 1), (3, 1)),
    "stack": (lambda x, y: gl.stack([x, y, x * y], axis=1), (3,), (3,)),
    "std": (lambda x: gl.std(x, axis=1, correction=1), (3, 4)),
    "swapaxes": (lambda x: gl.swapaxes(x, 0, 1), (2, 3)),
    "take": (lambda x: gl.take(x * x, PLACES, axis=0), (4, 2)),
    "take_along_axis": (lambda x: gl.take_along_axis(x * x, PLACES, axis=1), (3, 4)),
    "tensordot": (lambda x, y: gl.tensordot(x, y, 1), (2, 3), (3, 2)),
    "tile": (lambda x: gl.tile(x, (2, 2)), (2, 1)),
    "top_k": (lambda x: gl.top_k(x, 2).values, (3, 4)),
    "transpose": (lambda x: gl.transpose(x), (2, 3)),
    "tril": (lambda x: gl.tril(x), (3, 3)),
    "triu": (lambda x: gl.triu(x), (3, 3)),
    "true_divide": (lambda x, y: gl.true_divide(x, _positive(y)), (4,), (4,)),
    "unique_values": (lambda x: gl.unique_values(x, 4), (4,)),
    "unstack": (lambda x: gl.unstack(x), (2, 3)),
    "var": (lambda x: gl.var(x, axis=0), (3, 4)),
    "vecdot": (gl.vecdot, (3, 4), (3, 4)),
    "random.cauchy": _draw("cauchy"),
    "random.choice": (lambda x: R.choice(KEY, x * x, (6,)), (4,)),
    "random.exponential": (lambda r: R.exponential(KEY, (4, 3), _positive(r)), (3,)),
    "random.gumbel": _draw("gumbel"),
    "random.laplace": _draw("laplace"),
    "random.logistic": _draw("logistic"),
    "random.normal": _draw("normal"),
    "random.permutation": (lambda x: R.permutation(KEY, x * x), (5, 2)),
    "random.truncated_normal": (
        lambda a, b: R.truncated_normal(KEY, (4, 3), -_positive(a), _positive(b)),
        (3,),
        (4, 1),
    ),
    "random.uniform": (lambda a, b: R.uniform(KEY, (4, 3), a, a + _positive(b)), (3,), (4, 1)),
    "linalg.cross": (L.cross, (2, 3), (3,)),
    "linalg.eigvalsh": (lambda x: L.eigvalsh(x + x.T), (3, 3)),
    "linalg.inv": (lambda x: L.inv(x @ x.T + gl.eye(3, dtype=x.dtype)), (3, 3)),
    "linalg.kron": (L.kron, (2, 2), (1, 3)),
    "linalg.matrix_norm": (L.matrix_norm, (2, 3)),
    "linalg.matrix_power": (lambda x: L.matrix_power(x, 3), (2, 2)),
    "linalg.outer": (L.outer, (2,), (3,)),
    "linalg.svdvals": (L.svdvals, (2, 3)),
    "linalg.trace": (lambda x: L.trace(x @ x), (3, 3)),
    "linalg.vector_norm": (lambda x: L.vector_norm(x, axis=1), (3, 4)),
    "nn.adaptive_avg_pool": (lambda x: NN.adaptive_avg_pool(x, 2), (1, 2, 5)),
    "nn.adaptive_max_pool": (lambda x: NN.adaptive_max_pool(x, 2), (1, 2, 5)),
    "nn.avg_pool": (lambda x: NN.avg_pool(x, (2, 2), 1), (1, 2, 3, 3)),
    "nn.conv1d": (lambda x, w: NN.conv1d(x, w, 2, 1), (2, 2, 5), (3, 2, 2)),
    "nn.conv2d": (lambda x, w: NN.conv2d(x, w, groups=2), (1, 2, 3, 3), (2, 1, 2, 2)),
    "nn.conv3d": (NN.conv3d, (1, 1, 2, 3, 2), (1, 1, 2, 2, 2)),
    "nn.conv_transpose1d": (lambda x, w: NN.conv_transpose1d(x, w, 2), (1, 2, 3), (2, 1, 2)),
    "nn.conv_transpose2d": (NN.conv_transpose2d, (1, 1, 2, 2), (1, 2, 2, 2)),
    "nn.conv_transpose3d": (NN.conv_transpose3d, (1, 1, 2, 1, 2), (1, 1, 2, 2, 2)),
    "nn.dropout": (lambda x: NN.dropout(x * x, KEY, 0.4), (8,)),
    "nn.fold": (lambda x: NN.fold(x, (4,), 2), (1, 4, 3)),
    "nn.global_avg_pool": (NN.global_avg_pool, (1, 2, 3)),
    "nn.global_max_pool": (NN.global_max_pool, (1, 2, 3)),
    "nn.l2_pool": (lambda x: NN.l2_pool(x, 2), (1, 2, 4)),
    "nn.locally_connected1d": (NN.locally_connected1d, (1, 2, 4), (3, 3, 2, 2)),
    "nn.locally_connected2d": (NN.locally_connected2d, (1, 1, 3, 3), (2, 2, 1, 1, 2, 2)),
    "nn.lp_pool": (lambda x: NN.lp_pool(x, 3.0, 2), (1, 2, 4)),
    "nn.max_pool": (lambda x: NN.max_pool(x, 2, 1), (1, 2, 4)),
    "nn.resize": (lambda x: NN.resize(x, (4, 5), "linear"), (1, 1, 3, 2)),
    "nn.unfold": (lambda x: NN.unfold(x, 2), (1, 2, 4)),
    "nn.weighted_pool": (lambda x, w: NN.weighted_pool(x, w), (1, 1, 4), (2,)),
    "fft.fftshift": (lambda x: fft.fftshift(x), (5,)),
    "fft.ifftshift": (lambda x: fft.ifftshift(x), (5,)),
}

# Other names of the same function, and one function for each number of axes.
ALIASES = {
    *("arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "conj"),
    *("nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d"),
    *("nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d"),
    *("linalg.matrix_transpose", "linalg.tensordot", "linalg.vecdot"),
}

# Integers, bools, sizes and steps: the derivative is zero or there is none.
WITHOUT = {
    *("all", "any", "arange", "argmax", "argmin", "bitwise_not", "count_nonzero", "empty"),
    *("empty_like", "eye", "invert", "left_shift", "logical_and", "logical_not", "logical_or"),
    *("logical_xor", "nonzero", "one_hot", "ones", "ones_like", "right_shift", "rint", "zeros"),
    *("zeros_like", "unique_counts", "unique_inverse", "unique_all", "linalg.matrix_rank"),
    *("random.bernoulli", "random.bits", "random.categorical", "random.fold_in", "random.key"),
    *("random.randint", "random.split", "fft.fftfreq", "fft.rfftfreq"),
    *("random.beta", "random.dirichlet", "random.gamma"),  # drawn by rejection: they say so
}

# What is about dtypes and constants, not numbers that move.
TOOLS = {"as_tensor", "astype", "can_cast", "einsum_path", "finfo", "iinfo", "isdtype"} | {
    "result_type"
}
