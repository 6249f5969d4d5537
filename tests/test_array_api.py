# pyright: standard
"""The functions of the array API standard against NumPy 2, through graph, compiler and runtime.

What the standard's own suite says of them stands in docs/array_api.md; this needs no suite: one
table says how a call of each function is drawn.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gradloom.ir.dtypes import DType

from . import array_api as xp
from .array_api.answers import NUMPY, VIEWS
from .array_api.calls import CALLS
from .array_api.draws import Draw
from .array_api.eager import Array
from .array_api.standard import EXTENSIONS, NOT_COVERED, SECTIONS

FUNCTIONS = [
    f"{section}.{name}" if section in EXTENSIONS else name
    for section, names in SECTIONS.items()
    for name in names
    if xp.covered(section, name)
]

ADDING = {"cumulative_prod", "cumulative_sum", "matmul", "mean", "prod", "std", "sum", "tensordot"}
ADDING |= {"var", "vecdot"}  # their rounding errors grow with what they add


def replaced(value: Any, array: Any, dtype: Any) -> Any:
    """Arguments with their arrays and dtypes made something else."""
    if isinstance(value, np.ndarray):
        return array(value)
    if isinstance(value, DType):
        return dtype(value)
    if isinstance(value, (list, tuple)):
        return type(value)(replaced(entry, array, dtype) for entry in value)
    if isinstance(value, dict):
        return {name: replaced(entry, array, dtype) for name, entry in value.items()}
    return value


def look_up(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def plain(value: Any) -> Any:
    """NumPy arrays for arrays, NumPy's dtypes for dtypes, in nested results."""
    if isinstance(value, Array):
        return value.values
    if isinstance(value, DType):
        return value.numpy
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for entry in value for leaf in leaves(entry)]
    return [value]


def check(name: str, data: st.DataObject) -> None:
    """One drawn call by both."""
    args, kwargs = CALLS[name](Draw(data))
    ours = replaced((args, kwargs), Array, lambda dtype: dtype)
    theirs = replaced((args, kwargs), lambda array: array, lambda dtype: dtype.numpy)
    function = NUMPY.get(name) or look_up(np, name)
    with np.errstate(all="ignore"):
        wanted = function(*theirs[0], **theirs[1])
    found = look_up(xp, name)(*ours[0], **ours[1])
    view = VIEWS.get(name, lambda value: [value])
    got, expected = leaves(list(view(plain(found)))), leaves(list(view(plain(wanted))))
    assert len(got) == len(expected), name
    for a, b in zip(got, expected, strict=True):
        compare(name, a, b, (args, kwargs))


def compare(name: str, got: Any, wanted: Any, about: object) -> None:
    if not isinstance(got, np.ndarray):
        assert got == wanted, about
        return
    wanted = np.asarray(wanted)
    assert got.shape == wanted.shape, about
    assert got.dtype == wanted.dtype, about
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted, err_msg=str(about))
        return
    rounding = float(np.finfo(wanted.dtype).eps)
    largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=1))
    adds = "." in name or name in ADDING
    step = float(np.finfo(wanted.dtype).smallest_subnormal)
    rtol, atol = (4000 * rounding, 4000 * rounding * largest) if adds else (8 * rounding, 4 * step)
    np.testing.assert_allclose(got, wanted, rtol, atol, err_msg=str(about))


def test_every_covered_function_is_tested() -> None:
    assert set(FUNCTIONS) - {"__array_namespace_info__"} == CALLS.keys()
    assert not {name for name in FUNCTIONS if name in NOT_COVERED}
    total = sum(map(len, SECTIONS.values()))
    assert len(FUNCTIONS) >= 0.85 * total


def test_page_lists_what_is_covered() -> None:
    """docs/array_api.md, which a run of the suite writes, is of these functions."""
    text = (Path(__file__).parent.parent / "docs" / "array_api.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([a-z][\w.]*|__array_namespace_info__)` \| (\d*) \| (.*)\|$", text, re.M
    )
    assert {name for name, count, _ in rows if count} == set(FUNCTIONS)
    reasons = {
        name: why.strip().removeprefix("not covered: ") for name, _, why in rows if why.strip()
    }
    assert reasons == NOT_COVERED
    assert f"**{len(FUNCTIONS)} of {len(rows)} functions" in text


@pytest.mark.campaign(6)
@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=2, phases=[Phase.generate, Phase.shrink])
@given(st.data())
def test_equals_numpy(name: str, data: st.DataObject) -> None:
    check(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=60)
@given(st.data())
def test_equals_numpy_often(name: str, data: st.DataObject) -> None:
    check(name, data)
