"""What a call costs before anything is computed: formulas on 16 elements.

    python benchmarks/overhead.py --rounds 15

The same one-line formulas in each framework, timed in turns like `micro.py`'s cases.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import limit_threads, positive, write_json
from micro import PEERS, Modules, compare, line
from micro_cases import Case, Formula, drawn

ELEMENTS = 16


def cases() -> list[Case]:
    """One array in, and three."""
    sides = ("gradloom", *PEERS, "pytensor")

    def one(x: Any) -> Any:
        return x * 2 + 1

    def three(x: Any, y: Any, z: Any) -> Any:
        return x * y + z

    formulas: dict[str, Formula] = {"x * 2 + 1": one, "x * y + z": three}
    return [
        Case(
            f"{text} on {ELEMENTS} elements",
            drawn(*[(ELEMENTS,)] * formula.__code__.co_argcount),
            dict.fromkeys(sides, formula),
        )
        for text, formula in formulas.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--vs", default=",".join((*PEERS, "pytensor")), dest="peers")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args(arguments)
    limit_threads(options.threads)
    rows = [compare(case, options.peers.split(","), options.rounds, Modules()) for case in cases()]
    print("\n".join(map(line, rows)))
    write_json(options.json, "overhead", options.threads, rows)


if __name__ == "__main__":
    main()
