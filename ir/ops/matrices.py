# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the NumPy column: arrays of any dtype)
"""What the ops on matrices share: NumPy's LAPACK on the host, batches, and small formulas.

Leading axes are a batch throughout; sizes may be named, and may be 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dims import DimLike, minimum, product
from ..errors import ArgumentError, DTypeError, GradientError, ShapeError
from ..loc import quote
from ..shapes import unify
from ..tensor import Node, Tensor, TensorType
from .diagonal import eye, spread_diagonal, tril
from .logic import equal, where
from .shape import broadcast_to, matrix_transpose


def on_host(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A reference by NumPy's LAPACK, whose failure is the user's error."""

    def reference(*arrays: Any, **attrs: Any) -> Any:
        try:
            found = function(*arrays, **attrs)
        except np.linalg.LinAlgError as error:
            finite = all(np.isfinite(array).all() for array in arrays)
            why = "" if finite else " (an operand holds nan or infinity)"
            raise ArgumentError(f"{name}: {error}{entry(arrays, attrs)}{why}") from None
        return tuple(found) if isinstance(found, tuple) else found

    def entry(arrays: Sequence[Any], attrs: dict[str, Any]) -> str:
        """Which of several matrices it is that fails."""
        for index in np.ndindex(arrays[0].shape[:-2]):
            try:
                function(*[array[index] for array in arrays], **attrs)
            except np.linalg.LinAlgError:
                return f" at {list(index)} of the batch" if index else ""
        return ""

    return reference


def thirds(count: int) -> Callable[[Node], DimLike]:
    """`Op.work` of count / 3 · m · n · min(m, n) for each matrix of the first operand.

    So many operations a decomposition of a square matrix takes, but for lower powers of its size
    (Golub & Van Loan, Matrix Computations, 4th edition, 2013).
    """

    def work(node: Node) -> DimLike:
        shape = node.operands[0].shape
        return count * product(shape) * minimum(*shape[-2:]) // 3

    return work


def check_matrix(x: TensorType) -> None:
    """At least two axes, of floats."""
    if x.ndim < 2:
        raise ShapeError(f"needs matrices, which have at least two axes, got {x}")
    if not x.dtype.is_float:
        raise DTypeError(f"needs a float dtype, got {x.dtype}; cast with .astype")


def check_square(x: TensorType) -> None:
    """Square matrices of floats."""
    check_matrix(x)
    unify(x.shape[-2], x.shape[-1], "the sizes of a square matrix")


def batch_matrices(node: Node, operands: Sequence[Tensor], _: Sequence[bool]) -> tuple[Tensor, ...]:
    """The batching rule of an op on one stack of matrices: one more leading axis."""
    return Node(node.op, operands, node.attrs).results


def not_determined(node: Node, instead: str) -> GradientError:
    """The error for a derivative of vectors that complete a basis."""
    return GradientError(
        f"{node.op.name} at {quote(node.loc)}: the vectors that complete a basis are not "
        f"determined, so they have no derivative; use {instead}"
    )


# --- small formulas -------------------------------------------------------------------------------


def symmetric(x: Tensor) -> Tensor:
    """½ (x + xᵀ)."""
    return (x + matrix_transpose(x)) * 0.5


def skew(x: Tensor) -> Tensor:
    """x − xᵀ."""
    return x - matrix_transpose(x)


def half_lower(x: Tensor) -> Tensor:
    """Φ: the lower triangle with half the diagonal."""
    return tril(x) - on_diagonal(x) * (x * 0.5)


def on_diagonal(x: Tensor) -> Tensor:
    """The identity matrix, of the size and dtype of square matrices x."""
    return eye(x.shape[-2], x.shape[-1], dtype=x.dtype)


def identity_like(x: Tensor) -> Tensor:
    """An identity matrix for each of the square matrices x."""
    return broadcast_to(on_diagonal(x), x.shape)


def from_diagonal(x: Tensor) -> Tensor:
    """Square matrices with the last axis of x on their diagonals."""
    return spread_diagonal(x, 0, (*x.shape, x.shape[-1]))


def safe_reciprocal(x: Tensor) -> Tensor:
    """1 / x, and 0 for 0."""
    nothing = equal(x, 0.0)
    return where(nothing, 0.0, 1.0 / where(nothing, 1.0, x))


# --- operands for the tests -----------------------------------------------------------------------


def add_to_diagonal(x: Any, *values: float) -> Any:
    """x with `values` (the last for all others) added in turn to the diagonals."""
    rows, columns = x.shape[-2:]
    added = [values[min(i, len(values) - 1)] for i in range(min(rows, columns))]
    return x + np.diag([*added, *[0.0] * (max(rows, columns) - len(added))])[:rows, :columns]
