"""The op table: one entry an op, and the public functions that build graph with them."""

from ..explain import explained as _explained
from . import random as random
from .build import as_tensor as as_tensor
from .build import constant as constant
from .build import dimension as dimension
from .composite import log_softmax, logsumexp, softmax
from .contraction import dot, matmul
from .control import scan
from .elementwise import (
    abs,
    absolute,
    add,
    astype,
    bitwise_and,
    bitwise_invert,
    bitwise_or,
    bitwise_xor,
    ceil,
    clip,
    cos,
    divide,
    equal,
    erf,
    exp,
    expm1,
    floor,
    floor_divide,
    fma,
    greater,
    greater_equal,
    identity,
    invert,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mod,
    multiply,
    negative,
    not_equal,
    pow,
    power,
    reciprocal,
    relu,
    remainder,
    rint,
    round,
    rsqrt,
    sigmoid,
    sign,
    silu,
    sin,
    softplus,
    sqrt,
    square,
    stop_gradient,
    subtract,
    tanh,
    true_divide,
    trunc,
    where,
)
from .indexing import getitem, one_hot, take, take_along_axis
from .linalg import solve
from .reduction import all, amax, amin, any, argmax, argmin, max, mean, min, sum
from .shape import (
    arange,
    broadcast_to,
    expand_dims,
    full,
    matrix_transpose,
    moveaxis,
    ones,
    ones_like,
    permute_dims,
    reshape,
    squeeze,
    transpose,
    zeros,
    zeros_like,
)

PUBLIC = tuple(name for name in dir() if not name.startswith("_") and name.islower())

for _name in PUBLIC:  # an error names the function that the user called, and where
    if callable(globals()[_name]):
        globals()[_name] = _explained(globals()[_name])
