"""Function.compile_times: what compiling a function took, pass by pass."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from .table import aligned

_FRONT_END, _LLVM = "kernels: front end", "kernels: LLVM"  # parts of "load", in several threads


class CompileTimes(Mapping[str, float]):
    """Seconds by what took them, in order; printable.

    "disk", where the program was looked for, and is kept; where it was not there, or `stages` were
    asked for: the passes, as these name them, "verify", of all of these, "lower" and "generate",
    which make the program and its kernels' text.  Once it was called "load", from text to
    addresses, with the seconds of it that Numba's front end and LLVM ran, which overlap.
    """

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._seconds = dict(seconds)

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(seconds for name, seconds in self.items() if name not in (_FRONT_END, _LLVM))

    def __getitem__(self, name: str) -> float:
        return self._seconds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._seconds)

    def __len__(self) -> int:
        return len(self._seconds)

    def __str__(self) -> str:
        """A table; a pass that ran several times has one row."""
        sums: dict[str, float] = {}
        runs: dict[str, int] = {}
        for label, seconds in self.items():
            stem, _, number = label.rpartition("-")
            name = stem if number.isdecimal() else label
            sums[name] = sums.get(name, 0.0) + seconds
            runs[name] = runs.get(name, 0) + 1
        total = self.total or 1.0
        rows = [
            [f"{1e3 * seconds:.1f} ms", f"{seconds / total:.1%}", str(runs[name]), name]
            for name, seconds in sums.items()
        ]
        rows.append([f"{1e3 * self.total:.1f} ms", "", "", "in all"])
        return "\n".join(aligned([["time", "share", "runs", "pass"], *rows], left=(3,)))

    def __repr__(self) -> str:
        return f"<compile times: {self.total:.3g} s>"


@contextmanager
def loading(seconds: dict[str, float]) -> Generator[None]:
    """Add to `seconds` what the `with` block takes to load a program, and the parts of that."""
    from ..runtime.loader import statistics

    before, start = statistics(), perf_counter()
    yield
    after = statistics()
    taken = {
        "load": perf_counter() - start,
        _FRONT_END: after.front_end - before.front_end,
        _LLVM: after.llvm - before.llvm,
    }
    for name, spent in taken.items():
        seconds[name] = seconds.get(name, 0.0) + spent
