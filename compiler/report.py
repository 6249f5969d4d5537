"""What passes did: one line for each thing they replaced, and the list that a user reads."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from ..ir.loc import Line, Loc


@dataclass(frozen=True, slots=True)
class Report:
    """`rule` replaced the op `op` that stems from `loc`; `was` names all the ops it read.

    made: the op that stands there now.  formula, reason: the rule's, where a rule did it.
    """

    rule: str
    op: str
    loc: Loc
    was: Sequence[str] = ()
    made: str = ""
    formula: str = ""
    reason: str = ""

    def __str__(self) -> str:
        lines = ", ".join(map(str, self.loc)) or "an unknown line"
        return f"{self.rule} at {lines} (was {', '.join(self.was or [self.op])})"


class Reports(Sequence[Report]):
    """Reports to read: one a rule and place, in order; `str` adds each rule's formula and reason.

    others: what else was replaced, by rules that only make the graph plainer.
    """

    def __init__(self, reports: Iterable[Report], others: Reports | None = None) -> None:
        self._reports = tuple(reports)
        self._others = others

    @property
    def others(self) -> Reports:
        return Reports(()) if self._others is None else self._others

    @overload
    def __getitem__(self, index: int) -> Report: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Report]: ...
    def __getitem__(self, index: int | slice) -> Report | Sequence[Report]:
        return self._reports[index]

    def __len__(self) -> int:
        return len(self._reports)

    def __iter__(self) -> Iterator[Report]:
        return iter(self._reports)

    def __str__(self) -> str:
        if not self._reports:
            return "nothing was rewritten"
        lines: list[str] = []
        for report in self._reports:
            lines.append(str(report))
            if report.formula:
                lines.append(f"    {report.formula}")
                lines.append(f"    {report.reason}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<reports: {len(self)} rewritten>"


def collected(
    reports: Iterable[Report], stable: Container[str], standing: Container[tuple[str, Loc]]
) -> Reports:
    """The reports of one compilation as a user reads them.

    Rounds of rewriting find the same thing again, in the clones that derivatives are taken of, and
    so does a line that is run often: one report is left a rule and place.  A step on the way is
    dropped: softmax where log-softmax came of it, unless that op at those lines is among
    `standing` and so is computed after all.  `stable` holds the formulas of the rules that
    stabilise; the reports of all other rules are the list's `others`.
    """
    found: dict[tuple[str, Loc], Report] = {}
    for report in reports:
        before = found.get((report.rule, report.loc))
        was = report.was if before is None else (*before.was, *report.was)
        merged = replace(before or report, was=tuple(dict.fromkeys(was)))
        found[report.rule, report.loc] = merged
    chosen = [report for report in found.values() if report.formula in stable]
    by_line: dict[Line, list[Report]] = {}
    for report in chosen:
        for line in report.loc:
            by_line.setdefault(line, []).append(report)

    def is_step(report: Report) -> bool:
        if not report.loc or (report.made, report.loc) in standing:
            return False
        return any(_contains(later, report) for later in by_line[report.loc[0]])

    others = [report for report in found.values() if report.formula not in stable]
    return Reports([report for report in chosen if not is_step(report)], Reports(others))


def _contains(later: Report, report: Report) -> bool:
    """Whether `later` was read from all that `report` was, and more."""
    return set(later.loc) >= set(report.loc) and set(later.was) > set(report.was)
