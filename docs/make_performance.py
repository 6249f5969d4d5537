"""Writes docs/performance.md and its plots from figures: `python docs/make_performance.py`.

The figures are docs/performance.json, as `python benchmarks/figures.py` leaves them (or a file that
is named; the page then stands beside it).  Nothing on the page is typed in by hand.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median, quantiles
from typing import Any

from performance_targets import share, targets

FIGURES = Path(__file__).with_name("performance.json")
Row = Mapping[str, Any]
Series = Sequence[tuple[str, float]]  # what it is called, ratio

HEAD = """\
# Performance

*Written by `python docs/make_performance.py` from `performance.json`, the figures that
`python benchmarks/figures.py` takes; do not edit.*

float32, every framework with the same number of threads, sides timed in turns in one process after
their results were compared. A ratio is the peer's time over ours, round by round: above 1 we are
faster. Its median is given, and its quartiles in brackets.
"""
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, the first column to the left and the others to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))


def time(seconds: float) -> str:
    """With three digits and a unit."""
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}" if seconds < 1000 * unit else f"{seconds:.0f} s"
    return f"{seconds * 1e6:.3g} µs"


def ratio(values: Sequence[float]) -> str:
    """Median and quartiles."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f})"


def divided(row: Row) -> list[float]:
    return [theirs / ours for ours, theirs in zip(row["ours"], row["theirs"], strict=True)]


def machine(part: Row) -> str:
    facts = part["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['processor']}, {part['threads']} threads of {facts['processors']} processors, "
        f"{facts['system']}; Python {facts['python']}, {versions}.\n"
    )


def steps(part: Row) -> Iterator[str]:
    """One step of each workload."""
    peaks, rows = part["peaks"], part["rows"]
    workloads, peers = ([*dict.fromkeys(row[key] for row in rows)] for key in ("workload", "peer"))
    found = {(row["workload"], row["peer"]): row for row in rows}
    lines: list[list[str]] = []
    for workload in workloads:
        ours = [row for row in rows if row["workload"] == workload]
        cells = [
            f"{time(median(row['theirs']))}, {ratio(row['ratios'])}" if row else "–"
            for row in (found.get((workload, peer)) for peer in peers)
        ]
        mine = median([median(row["ours"]) for row in ours])
        floor = median([median(row["floors"]) for row in ours])
        reached = median([share(row, "ours") for row in ours])
        lines.append([workload, time(mine), *cells, time(floor), f"{reached:.2f}"])
    means = [
        f"**{geometric_mean([median(row['ratios']) for row in rows if row['peer'] == peer]):.2f}**"
        for peer in peers
    ]
    lines.append(["geometric mean", "", *means, "", ""])
    yield "## Steps\n"
    yield (
        "Whole steps: forward, backward, update (`elementwise` is one expression). The floor is "
        "the larger of the step's multiply-adds at "
        f"{peaks['flops'] / 1e9:.0f} Gflop/s and its inputs, parameters and results at "
        f"{peaks['bytes'] / 1e9:.1f} GB/s: this machine's own peaks, read in each round, of which "
        "these are the medians. Share is floor over time, round by round.\n"
    )
    yield table(["step", "ours", *peers, "floor", "share"], lines)
    yield "![ratios of the steps](performance-steps.svg)\n"


def startup(part: Row) -> Iterator[str]:
    """Process start to end of first step."""
    yield "## Start\n"
    yield (
        "From the start of the process to the end of the first step; warm: with what an earlier "
        "process left on disk.\n"
    )
    lines = [
        [
            *(row["workload"], row["state"], time(median(row["ours"]))),
            *(time(median(row["theirs"])), row["peer"], ratio(divided(row))),
        ]
        for row in part["rows"]
    ]
    yield table(["step", "state", "ours", "theirs", "peer", "ratio"], lines)


def overhead(part: Row) -> Iterator[str]:
    """Calls of next to nothing."""
    sides = list(part["rows"][0]["seconds"])
    yield "## Calls\n"
    lines = [
        [f"`{row['case']}`", *(time(median(row["seconds"][side])) for side in sides)]
        for row in part["rows"]
    ]
    yield table(["formula", *sides], lines)


def steady(part: Row) -> Iterator[str]:
    """Memory."""
    yield "## Memory\n"
    yield (
        "Bytes of temporaries, as planned and as allocated; and what a warm step allocates: growth "
        "of all that Python and NumPy hold over so many steps, and new blocks of temporaries.\n"
    )
    keys = ("workload", "planned", "allocated", "jax", "steps", "growth", "new_arenas")
    lines = [
        [f"{row[key]:,}" if isinstance(row[key], int) else str(row[key] or "–") for key in keys]
        for row in part["rows"]
    ]
    head = ["step", "planned", "allocated", "JAX's", "steps", "growth, bytes", "new blocks"]
    yield table(head, lines)


def micro(part: Row) -> Iterator[str]:
    """Single operations."""
    suites = dict.fromkeys(row["suite"] for row in part["rows"])
    yield "## Single operations\n"
    yield (
        "One line in each framework; the ratio is to the best peer of each case. A dot of the plot "
        "is a case.\n"
    )
    yield table(
        ["suite", "cases", "geometric mean", "least", "most"],
        [
            [suite, str(len(r)), f"**{geometric_mean(r):.2f}**", f"{min(r):.2f}", f"{max(r):.2f}"]
            for suite in suites
            for r in [[row["ratio"] for row in part["rows"] if row["suite"] == suite]]
        ],
    )
    yield "![ratios of single operations](performance-micro.svg)\n"
    lines = [
        [row["case"], time(median(row["seconds"]["gradloom"])), row["best"], f"{row['ratio']:.2f}"]
        for row in part["rows"]
    ]
    cases = table(["case", "ours", "best peer", "ratio"], lines)
    yield f"<details><summary>All cases</summary>\n\n{cases}\n</details>\n"


def scaling(part: Row) -> Iterator[str]:
    """Compile time by pass."""
    yield "## Compile time\n"
    for graph in dict.fromkeys(row["graph"] for row in part["rows"]):
        rows = [row for row in part["rows"] if row["graph"] == graph]
        names = [*dict.fromkeys(name for row in rows for name in row["passes"])]
        lines = [[name, *(time(row["passes"].get(name, 0.0)) for row in rows)] for name in names]
        lines.append(["processor, all threads", *(time(r["processor_seconds"]) for r in rows)])
        yield table([graph, *(f"{row['nodes']:,} nodes" for row in rows)], lines)


SECTIONS = {
    "steps": steps,
    "startup": startup,
    "overhead": overhead,
    "steady": steady,
    "micro": micro,
    "scaling": scaling,
}


def against_targets(figures: Mapping[str, Row]) -> Iterator[str]:
    found = targets(figures)
    yield "## Targets\n"
    yield f"{sum(met for *_, met in found)} of {len(found)} are met.\n"
    rows = [[what, target, f"{got} {'✓' if met else '**✗**'}"] for what, target, got, met in found]
    yield table(["what", "target", "found"], rows)


def page(figures: Mapping[str, Row]) -> str:
    """All of docs/performance.md."""
    parts = [HEAD, *(machine(part) for part in list(figures.values())[:1])]
    parts += against_targets(figures)
    for name, section in SECTIONS.items():
        if name in figures:
            parts += section(figures[name])
    return "\n".join(parts)


def plots(figures: Mapping[str, Row]) -> dict[str, str]:
    """SVG by file name."""
    found: dict[str, str] = {}
    for name, row_of, series_of in (("steps", "workload", "peer"), ("micro", "suite", "best")):
        rows: dict[str, list[tuple[str, float]]] = {}
        for row in figures[name]["rows"] if name in figures else ():
            value = row["ratio"] if "ratio" in row else median(row["ratios"])
            rows.setdefault(row[row_of], []).append((row[series_of], value))
        if rows:
            found[f"performance-{name}.svg"] = dots(rows)
    return found


def dots(rows: Mapping[str, Series]) -> str:
    """A line a row of a dot for each ratio, on a logarithmic axis; 1 is marked."""
    left, width, height, foot = 110, 520, 30, 46
    values = [value for series in rows.values() for _, value in series]
    low = min(math.floor(math.log10(value)) for value in [*values, 0.5])
    high = max(math.ceil(math.log10(value)) for value in [*values, 2.0])
    names = [*dict.fromkeys(name for series in rows.values() for name, _ in series)]
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}
    bottom = height * len(rows) + 10

    def across(value: float) -> float:
        return round(left + width * (math.log10(value) - low) / (high - low), 1)

    parts: list[str] = []
    for power in range(low, high + 1):
        for digit in (1, 2, 5):
            tick = digit * 10.0**power
            if tick <= 10.0**high:
                line = "#444" if tick == 1 else "#ddd"
                x = across(tick)
                parts.append(f'<path d="M{x} 5V{bottom}" stroke="{line}"/>')
                parts.append(
                    f'<text x="{x}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>'
                )
    for number, (name, series) in enumerate(rows.items()):
        y = height * number + height // 2 + 5
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{name}</text>')
        parts += [
            f'<circle cx="{across(value)}" cy="{y}" r="4" fill="{colours[of]}" fill-opacity=".7"/>'
            for of, value in series
        ]
    for number, name in enumerate(names):
        x, y = left + 110 * number, bottom + foot - 12
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 8}" y="{y}">{name}</text>')
    size = f"{left + width + 20} {bottom + foot}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-size="12"'
    return f'{head} font-family="sans-serif">\n' + "\n".join(parts) + "\n</svg>\n"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURES
    figures = json.loads(path.read_text(encoding="utf-8"))
    path.with_name("performance.md").write_text(page(figures), encoding="utf-8")
    for name, image in plots(figures).items():
        path.with_name(name).write_text(image, encoding="utf-8")


if __name__ == "__main__":
    main()
