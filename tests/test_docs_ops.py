"""docs/ops.md says what the op table gives.

An op that is new and not on the page yet is no failure: adding one is a commit of one file, and the
page is written again later.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from .op_report import missing

ROOT = Path(__file__).parent.parent


def make_ops() -> Any:
    """The script that writes the page, as a module."""
    spec = importlib.util.spec_from_file_location("make_ops", ROOT / "docs" / "make_ops.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = make_ops()
ENTRIES, FUNCTIONS = MAKE.read(MAKE.PAGE.read_text(encoding="utf-8"))
AGAIN = "run python docs/make_ops.py"


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_is_what_the_table_gives(name: str) -> None:
    assert name in MAKE.TABLE, f"{name} is gone from the table: {AGAIN}"
    assert ENTRIES[name] == MAKE.entry(MAKE.TABLE[name]), AGAIN


def test_functions_are_those_that_there_are() -> None:
    found = MAKE.functions()
    for name, line in FUNCTIONS.items():
        assert name in found, f"{name} is gone: {AGAIN}"
        assert line == found[name], AGAIN


def test_page_can_be_read_back() -> None:
    """What the other tests compare is all that was written."""
    assert MAKE.read(MAKE.page()) == (MAKE.entries(), MAKE.functions())
    assert len(ENTRIES) > 90 and len(FUNCTIONS) > 70


def test_page_says_how_ops_are_differentiated() -> None:
    """Samples by hand: the texts that the page is made of are right."""
    table = MAKE.TABLE
    assert MAKE.derivative(table["tanh"]) == "∂x: `tanh_slope(x)`"
    assert MAKE.derivative(table["minimum"]).startswith("∂x: `1 where (x ≤ y)`")
    assert MAKE.derivative(table["matmul"]) == "linear in x, y, by its transpose"
    assert MAKE.derivative(table["floor"]).startswith("none: it is a step function")
    assert MAKE.dtypes(table["equal"]).endswith("→ bool")
    assert MAKE.dtypes(table["cast"]).endswith("→ `dtype`")
    assert "unsigned" not in MAKE.dtypes(table["exp"])
    assert MAKE.kernels(table["solve"]).startswith("host fallback")
    assert MAKE.kernels(table["sum"]) == "a loop that keeps `add` of the values seen, on zero first"


def test_no_op_lacks_a_column() -> None:
    """Type rule, reference, CPU and CUDA code or a host fallback, derivative or a reason."""
    assert missing() == {}
