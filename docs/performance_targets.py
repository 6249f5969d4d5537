"""What the figures are held against: each target, what was found, and whether that meets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import geometric_mean, median
from typing import Any

Row = Mapping[str, Any]
Target = tuple[str, str, str, bool]  # what, target, found, met

RATIOS = {"elementwise": 1.1, "mlp_small": 8.0, "mlp": 1.4, "cnn": 7.0, "lstm": 3.0, "attn": 2.0}
MEAN_RATIO = 3.0
SHARES = {"elementwise": 0.9, "mlp": 0.75, "cnn": 0.6, "lstm": 0.5, "attn": 0.5}
NEAR = 0.9  # share from which on JAX need only be reached on `elementwise`
WARM_SECONDS = 0.5
CALL_SECONDS = 2e-6
TIMES_FOR_TEN_TIMES = 12.0
SMALL = ("mlp", "cnn", "lstm", "attn")  # whose temporaries are compared


def share(row: Row, side: str) -> float:
    """Of the roofline, of a side's steps: each round's floor over its time."""
    return median(floor / time for floor, time in zip(row["floors"], row[side], strict=True))


def at_least(what: str, target: float, found: float) -> Target:
    return what, f"≥ {target:g}", f"{found:.2f}", found >= target


def at_most(what: str, target: str, found: str, met: bool) -> Target:
    return what, f"≤ {target}", found, met


def of_steps(part: Row) -> Iterator[Target]:
    """Against JAX, against each other peer, and against the machine."""
    mine: dict[str, list[float]] = {}
    ratios: dict[str, float] = {}
    for row in part["rows"]:
        workload, ratio = row["workload"], median(row["ratios"])
        mine.setdefault(workload, []).append(share(row, "ours"))
        if row["peer"] != "jax":
            yield at_least(f"{workload}: {row['peer']}'s time over ours", 1.0, ratio)
            continue
        ratios[workload] = ratio
        target = RATIOS.get(workload, 1.0)
        if workload == "elementwise" and share(row, "theirs") >= NEAR:
            target = 1.0  # JAX stands at the roof itself
        yield at_least(f"{workload}: JAX's time over ours", target, ratio)
    if set(ratios) == set(RATIOS):
        mean = geometric_mean(ratios.values())
        yield at_least("all workloads: geometric mean over JAX", MEAN_RATIO, mean)
    for workload, shares in mine.items():
        if workload in SHARES:
            yield at_least(f"{workload}: share of the roofline", SHARES[workload], median(shares))


def of_startup(part: Row) -> Iterator[Target]:
    for row in part["rows"]:
        ours, theirs = median(row["ours"]), median(row["theirs"])
        what = f"{row['workload']}: {row['state']} start"
        yield at_most(what, f"{theirs:.2f} s ({row['peer']})", f"{ours:.2f} s", ours <= theirs)
        if row["state"] == "warm":
            yield at_most(what, f"{WARM_SECONDS} s", f"{ours:.2f} s", ours <= WARM_SECONDS)


def of_overhead(part: Row) -> Iterator[Target]:
    for row in part["rows"]:
        ours = median(row["seconds"]["gradloom"])
        yield at_most(row["case"], "2 µs", f"{ours * 1e6:.2f} µs", ours <= CALL_SECONDS)


def of_steady(part: Row) -> Iterator[Target]:
    for row in part["rows"]:
        if row["workload"] in SMALL and row["jax"] is not None:
            what = f"{row['workload']}: bytes of temporaries"
            met = row["allocated"] <= row["jax"]
            yield at_most(what, f"{row['jax']:,} (JAX)", f"{row['allocated']:,}", met)
        met = row["new_arenas"] == 0 and row["growth"] < row["steps"]
        grown = f"{row['growth'] / row['steps']:.2f}"
        yield at_most(f"{row['workload']}: bytes a warm step leaves behind", "1", grown, met)


def of_micro(part: Row) -> Iterator[Target]:
    for suite in ("matmul", "convolution"):
        found = [row["ratio"] for row in part["rows"] if row["suite"] == suite]
        if found:
            yield at_least(f"{suite}: best peer's time over ours", 1.0, geometric_mean(found))


def of_scaling(part: Row) -> Iterator[Target]:
    """12 times as long for ten times the nodes; in proportion for other numbers of nodes."""
    for graph in dict.fromkeys(row["graph"] for row in part["rows"]):
        small, *_, large = [row for row in part["rows"] if row["graph"] == graph]
        times = large["processor_seconds"] / small["processor_seconds"]
        most = TIMES_FOR_TEN_TIMES * (large["nodes"] / small["nodes"]) / 10
        what = f"{graph}: compile time, {large['nodes']:,} over {small['nodes']:,} nodes"
        yield at_most(what, f"{most:.1f}", f"{times:.1f}", times <= most)


OF: dict[str, Callable[[Row], Iterator[Target]]] = {
    "steps": of_steps,
    "startup": of_startup,
    "overhead": of_overhead,
    "steady": of_steady,
    "micro": of_micro,
    "scaling": of_scaling,
}


def targets(figures: Mapping[str, Row]) -> list[Target]:
    """All that the figures tell about."""
    return [target for name, of in OF.items() if name in figures for target in of(figures[name])]
