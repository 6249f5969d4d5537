"""The namespace ``gradloom.linalg``: linear algebra by the names of the array API standard.

What LAPACK does is done by NumPy on the host, between kernels; all of it is differentiable in both
modes where the maths is, and takes leading batch axes.
"""

from __future__ import annotations

from .contraction import matmul, tensordot, vecdot
from .determinants import det, slogdet
from .diagonal import diagonal
from .factorisations import cholesky, qr
from .norms import (
    cross,
    kron,
    matrix_norm,
    matrix_power,
    matrix_rank,
    outer,
    trace,
    vector_norm,
)
from .shape import matrix_transpose
from .solving import inv, pinv, solve, triangular_solve
from .spectral import eigh, eigvalsh, svd, svdvals

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "kron",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "triangular_solve",
    "vecdot",
    "vector_norm",
]
