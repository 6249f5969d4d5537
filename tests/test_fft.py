"""gl.fft: frequencies and shifts, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradloom as gl

SIZES = (1, 2, 3, 8, 9)


def test_frequencies_are_numpys() -> None:
    spacings = (1.0, 0.1, 3.0)
    pairs = [(n, d) for n in SIZES for d in spacings]
    function = gl.function([], [f(n, d, "float64") for f in FREQUENCIES.values() for n, d in pairs])
    wanted = [f(n, d) for f in FREQUENCIES for n, d in pairs]
    for found, own in zip(function(), wanted, strict=True):
        np.testing.assert_allclose(found, own, rtol=1e-15)


FREQUENCIES: dict[Any, Any] = {np.fft.fftfreq: gl.fft.fftfreq, np.fft.rfftfreq: gl.fft.rfftfreq}


@pytest.mark.parametrize("axes", [None, 0, -1, (0, 1)])
def test_shifts_are_numpys(axes: Any) -> None:
    x = gl.placeholder(("B", "N"), "float64", name="x")
    function = gl.function([x], [gl.fft.fftshift(x, axes), gl.fft.ifftshift(x, axes)])
    for shape in [(4, 5), (1, 1), (0, 3), (7, 2)]:
        values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
        there, back = function(values)
        np.testing.assert_array_equal(there, np.fft.fftshift(values, axes))
        np.testing.assert_array_equal(back, np.fft.ifftshift(values, axes))


def test_frequencies_of_a_named_size() -> None:
    x = gl.placeholder(("N",), name="x")
    function = gl.function([x], x * gl.fft.fftfreq("N"))
    for n in SIZES:
        found = function(np.ones(n, np.float32))
        np.testing.assert_allclose(found, np.fft.fftfreq(n).astype(np.float32), rtol=1e-7)


def test_what_does_not_fit() -> None:
    with pytest.raises(gl.GradloomError, match=r"fftfreq: the length of a transform is at least 1"):
        gl.fft.fftfreq(0)
    with pytest.raises(gl.GradloomError, match=r"fftshift: .*axis 2"):
        gl.fft.fftshift(gl.zeros((2, 3)), 2)


def test_real_numbers_are_their_own_conjugates() -> None:
    x = gl.placeholder((3,), name="x")
    assert gl.real(x) is x
    assert gl.conj(x) is x
