# pyright: standard
"""Index expressions, drawn: for NumPy, and the same with tensors and named sizes for gradloom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl

NumpyArray = np.ndarray[Any, Any]

KINDS = ("int", "slice", "slice", "list", "array", "tensor", "mask", "none", "bool", "ellipsis")


class Drawn:
    """An array and an index into it, for NumPy and (tensors, named sizes) for gradloom."""

    def __init__(self, seed: int, array: NumpyArray, x: gl.Tensor) -> None:
        self.rng = np.random.default_rng(seed)
        self.array, self.x = array, x
        self.feeds: list[tuple[gl.Tensor, NumpyArray]] = []
        self.numpy: tuple[Any, ...] = ()
        self.ours: tuple[Any, ...] = ()
        pairs = self.draw()
        if pairs and len(pairs) == 1 and self.rng.random() < 0.5:
            self.numpy, self.ours = pairs[0]  # an index that is no tuple
        else:
            self.numpy = tuple(pair[0] for pair in pairs)
            self.ours = tuple(pair[1] for pair in pairs)

    def draw(self) -> list[tuple[Any, Any]]:
        rng, shape = self.rng, self.array.shape
        common = [(), (3,), (1,), (2, 1), (2, 3), (0,)][rng.integers(6)]
        kinds = list(KINDS if rng.random() < 0.6 else KINDS[:3])
        pairs: list[tuple[Any, Any]] = []
        axis, masked = 0, False
        while axis < len(shape) and rng.random() < 0.85:
            kind = kinds[rng.integers(len(kinds))]
            match kind:
                case "none":
                    pairs.append((None, None))
                    continue
                case "ellipsis":
                    kinds.remove("ellipsis")
                    pairs.append((Ellipsis, Ellipsis))
                    axis += int(rng.integers(len(shape) - axis + 1))
                    continue
                case "bool":
                    kinds.remove("bool")
                    value = bool(rng.random() < 0.9)
                    pairs.append((value, np.bool(value) if rng.random() < 0.5 else value))
                    continue
                case "mask":
                    if masked or any(not isinstance(size, int) for size in self.x.shape):
                        continue  # (a mask's sizes are numbers: beside a named size an error)
                    masked = True
                    count = int(rng.integers(1, len(shape) - axis + 1))
                    mask = rng.random(shape[axis : axis + count]) < 0.5
                    pairs.append((mask, mask.tolist() if mask.ndim == 1 and mask.size else mask))
                    axis += count
                    continue
                case "slice":
                    pairs.append(self.slice(axis))
                case "int":
                    if shape[axis] == 0:
                        pairs.append((slice(None), slice(None)))
                    else:
                        value = int(rng.integers(-shape[axis], shape[axis]))
                        pairs.append((value, np.int32(value) if rng.random() < 0.3 else value))
                case _:
                    pairs.append(self.array_index(kind, axis, common))
            axis += 1
        return pairs

    def slice(self, axis: int) -> tuple[slice, slice]:
        rng, size = self.rng, self.array.shape[axis]
        bounds = [int(v) if rng.random() < 0.7 else None for v in rng.integers(-6, 7, 2)]
        step = [None, 1, 1, -1, 2, -2, 3, 7][rng.integers(8)]
        ours: list[Any] = list(bounds)
        if rng.random() < 0.3:  # a bound that is the size, perhaps a named one
            bounds[1], ours[1] = size, self.x.shape[axis]
        return slice(bounds[0], bounds[1], step), slice(ours[0], ours[1], step)

    def array_index(self, kind: str, axis: int, common: tuple[int, ...]) -> tuple[Any, Any]:
        rng, size = self.rng, self.array.shape[axis]
        shape = tuple(1 if rng.random() < 0.2 else n for n in common)
        shape = shape if size else (*shape[:-1], 0)
        values = rng.integers(-size, max(size, 1), shape).astype(rng.choice(["int64", "int32"]))
        if kind == "list" and values.size:
            return values.tolist(), values.tolist()
        if kind == "tensor":
            tensor = gl.placeholder(values.shape, values.dtype)
            self.feeds.append((tensor, values))
            return values, tensor
        return values, values


def drawn(seeds: range, named: bool) -> tuple[list[Drawn], list[tuple[gl.Tensor, NumpyArray]]]:
    """Indices that NumPy takes, and the inputs that they need."""
    found: list[Drawn] = []
    feeds: list[tuple[gl.Tensor, NumpyArray]] = []
    rng = np.random.default_rng(seeds.start)
    shapes = [(5, 3, 4), (4, 5), (6,), (2, 3, 2, 3), (3, 0, 2), (), (1, 4)]
    arrays: list[tuple[gl.Tensor, NumpyArray]] = []
    for n, shape in enumerate(shapes):
        array = rng.normal(size=shape)
        sizes = [f"S{n}{i}" for i in range(len(shape))] if named else shape
        arrays.append((gl.placeholder(sizes, "float64"), array))
    for seed in seeds:
        x, array = arrays[seed % len(arrays)]
        one = Drawn(seed, array, x)
        try:
            array[one.numpy]
        except IndexError:  # places that are not there, arrays that do not broadcast: so here
            if not one.feeds and not named:
                with pytest.raises(gl.GradloomError):
                    x[one.ours]
            continue
        found.append(one)
        feeds += one.feeds
    return found, [*arrays, *feeds]
