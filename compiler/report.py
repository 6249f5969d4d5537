"""What a pass did: one line for each thing it replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.loc import Loc


@dataclass(frozen=True, slots=True)
class Report:
    """`rule` replaced the op `op` that stems from `loc`; `was` names all the ops it read."""

    rule: str
    op: str
    loc: Loc
    was: Sequence[str] = ()

    def __str__(self) -> str:
        lines = ", ".join(map(str, self.loc)) or "an unknown line"
        return f"{self.rule} at {lines} (was {', '.join(self.was or [self.op])})"
