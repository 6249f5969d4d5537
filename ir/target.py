"""What a compiler may know of a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """kind: ``cpu`` or ``cuda``.  lanes: elements of each vector (16 with AVX-512, 8 with AVX2)."""

    kind: str = "cpu"
    lanes: int = 8

    def __str__(self) -> str:
        return f"{self.kind} lanes {self.lanes}" if self.kind == "cpu" else self.kind
