# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# (NumPy arrays of any shape)
"""Which entries of each window over an image lie on the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.array import Array


def runs_of(axes: Sequence[Sequence[Any]]) -> tuple[Array, int]:
    """The table of `ir.kernel.Runs` for windows over the axes of an image, and the most runs.

    axes: of each the number of windows, their size, how far before the image the first one starts,
    stride, dilation, and the image's size.
    """
    inside = np.ones((1, 1), bool)  # whether window o has its entry k on the image
    for count, size, low, stride, dilation, extent in axes:
        place = np.arange(count)[:, None] * stride + np.arange(size) * dilation - low
        along = (place >= 0) & (place < extent)
        joined = inside[:, None, :, None] & along[None, :, None, :]
        inside = joined.reshape(inside.shape[0] * count, -1)
    edges = np.diff(np.pad(inside, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
    groups = len(inside)
    counts = np.bincount(starts[:, 0], minlength=groups)
    most = max(1, int(counts.max(initial=0)))
    number = np.arange(len(starts)) - (np.cumsum(counts) - counts)[starts[:, 0]]
    table = np.zeros((groups, 1 + 2 * most), np.int64)
    table[starts[:, 0], 1 + 2 * number] = starts[:, 1]
    table[starts[:, 0], 2 + 2 * number] = stops[:, 1]
    others = (inside[1:] != inside[:-1]).any(axis=1)
    ends = np.append(np.flatnonzero(others) + 1, groups)
    table[:, 0] = ends[np.searchsorted(ends, np.arange(groups), side="right")]
    return Array(table), most
