"""The Mandelbrot set in characters: a loop that ends where it likes, for each pixel.

A point c belongs to the set if z ↦ z² + c, from 0 on, stays within |z| ≤ 2.  `escape_time` counts
the steps of one point, as one would write it down: while it is within, take a step.  `vmap` makes
of it one loop over all pixels, which goes on while any of them is within.  `by_scan` is the same
picture as a scan of MOST steps over whole pictures, masked by hand.

    python examples/mandelbrot.py
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import gradloom as gl

MOST = 100  # steps; what is within after so many counts as inside
SHADES = " .:-=+*#%@"
ROWS, COLUMNS = 29, 78

Array = NDArray[Any]


def step(
    x: gl.Tensor, y: gl.Tensor, real: gl.Tensor, imaginary: gl.Tensor
) -> tuple[gl.Tensor, gl.Tensor]:
    """z² + c, in real and imaginary parts."""
    return x * x - y * y + real, 2 * x * y + imaginary


def escape_time(real: gl.Tensor, imaginary: gl.Tensor) -> gl.Tensor:
    """How many steps the point stays within |z| ≤ 2, at most MOST."""

    def is_within(z: Any) -> gl.Tensor:
        x, y, count = z
        return (x * x + y * y <= 4) & (count < MOST)

    def next_one(z: Any) -> Any:
        x, y, count = z
        return (*step(x, y, real, imaginary), count + 1)

    start = gl.zeros_like(real)
    return gl.while_loop(is_within, next_one, (start, start, gl.constant(0, "int64")))[2]


def by_vmap(real: gl.Tensor, imaginary: gl.Tensor) -> gl.Tensor:
    """The count of each pixel: rows of imaginary parts, columns of real ones."""
    row = gl.vmap(escape_time, (0, None))
    return gl.vmap(row, (None, 0))(real, imaginary)


def by_scan(real: gl.Tensor, imaginary: gl.Tensor) -> gl.Tensor:
    """The same by MOST steps of the whole picture, of which each pixel ignores the late ones."""
    down = gl.expand_dims(imaginary, 1)
    start = gl.zeros_like(down * real)

    def masked(carry: Any, _: Any) -> Any:
        x, y, count = carry
        within = x * x + y * y <= 4
        a, b = step(x, y, real, down)
        count = count + gl.astype(within, "int64")
        return (gl.where(within, a, x), gl.where(within, b, y), count), None

    init = (start, start, gl.zeros_like(start, dtype="int64"))
    (_, _, count), _ = gl.scan(masked, init, length=MOST)
    return count


def grid(rows: int = ROWS, columns: int = COLUMNS) -> tuple[Array, Array]:
    """Real and imaginary parts of the pixels."""
    return np.linspace(-2.1, 0.7, columns), np.linspace(1.15, -1.15, rows)


def picture(counts: Array) -> str:
    """A character a pixel, darker the longer it stayed; the set itself is darkest."""
    shade = np.log1p(counts) / np.log1p(MOST) * (len(SHADES) - 1)
    return "\n".join("".join(SHADES[int(s)] for s in row) for row in shade)


def main() -> Array:
    """Print the picture; the counts."""
    real = gl.placeholder(("columns",), "float64", name="real")
    imaginary = gl.placeholder(("rows",), "float64", name="imaginary")
    counts = gl.function([real, imaginary], by_vmap(real, imaginary))(*grid())
    print(picture(counts))
    print(f"{np.mean(counts == MOST):.1%} of the pixels are inside after {MOST} steps")
    return counts


if __name__ == "__main__":
    main()
