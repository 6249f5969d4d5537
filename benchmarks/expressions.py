# pyright: standard
"""What a row of the stability table is: a naive formula, and inputs that it was not made for.

A formula is Python text over the words of `systems.py` and its inputs; the same text runs in every
system and, in many digits, in `exact.py`.  Derivatives are taken by every float input but t, w and
m, which are data: targets, weights, masks; i holds integers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, pi, sqrt
from types import CodeType
from typing import Any

import numpy as np

DATA = "twmi"
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Expression:
    """`text` in a `family` with `cases` of inputs.

    alone: whether each entry of a result is judged by itself, as in an element-wise formula, or
    against the largest entry.
    truth: an equal formula for the exact value, where 100 digits would not do: log(1 − p) of
    p = 1/(1 + exp(−1e4)) loses 4343, and of p = erf(1e4) 43 million.
    """

    family: str
    text: str
    cases: Sequence[Inputs]
    alone: bool = False
    truth: str = ""

    @cached_property
    def _code(self) -> CodeType:
        return compile(self.text, self.text, "eval")

    def formula(self, names: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        return eval(self._code, {**names, **CONSTANTS, **inputs})

    def exact(self, names: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        return eval(self.truth or self.text, {**names, **CONSTANTS, **inputs})

    def arrays(self, case: Inputs) -> dict[str, Any]:
        """A case as arrays: integers for i, float32 for all others."""
        return {
            name: np.asarray(values, np.int64 if name == "i" else np.float32)
            for name, values in case.items()
        }

    def by(self, case: Mapping[str, Any]) -> list[str]:
        """The inputs that it is differentiated by."""
        used = set(re.findall(r"\w+", self.text))
        return [name for name in case if name in used and name not in DATA]


CONSTANTS: dict[str, Any] = {"inf": inf, "pi": pi, "root2": sqrt(2.0)}


def family(name: str, cases: Sequence[Inputs], *texts: str, **more: Any) -> list[Expression]:
    """Rows that share their inputs."""
    return [Expression(name, text, cases, **more) for text in texts]
