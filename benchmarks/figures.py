"""All benchmarks, one after the other: docs/performance.json, and the page made of it.

    python benchmarks/figures.py                    # on a machine that does nothing else
    python benchmarks/figures.py --quick --out /tmp/performance.json

Each script runs in a process of its own.  With `--parts` only some run, and the others' figures
stay as they are in the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import positive

HERE = Path(__file__).parent
MAKE_PAGE = HERE.parent / "docs" / "make_performance.py"
# What each part runs, and with what where only a look is wanted.
PARTS: dict[str, tuple[list[str], list[str]]] = {
    "steps": (["run.py", "--vs", "jax,torch,torch.compile,pytensor"], ["mlp_small", "--rounds=2"]),
    "micro": (["micro.py"], ["--rounds=1", "--first=2"]),
    "overhead": (["overhead.py"], ["--rounds=2"]),
    "steady": (["steady.py"], ["mlp_small", "--steps=20"]),
    "startup": (["startup.py"], ["mlp_small", "--rounds=1"]),
    "scaling": (["scaling.py"], ["network", "--rounds=1", "--nodes", "100", "300"]),
}


def run(part: str, threads: int, quick: bool) -> dict[str, Any]:
    """The figures of one part; what its script prints is printed."""
    (script, *options), look = PARTS[part]
    command = [sys.executable, str(HERE / script), *options, *(look if quick else [])]
    if part != "scaling":  # compiles in as many threads as there are
        command += ["--threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        subprocess.run([*command, "--json", str(path)], check=True)
        return json.loads(path.read_text())


def text(figures: dict[str, Any]) -> str:
    """JSON with a line a row."""
    parts: list[str] = []
    for name, part in figures.items():
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in part["rows"])
        head = json.dumps({key: value for key, value in part.items() if key != "rows"})
        parts.append(f'"{name}": {head[:-1]}, "rows": [\n{rows}\n]}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--quick", action="store_true", help="few cases, few rounds: a look")
    parser.add_argument("--out", type=Path, default=MAKE_PAGE.with_name("performance.json"))
    options = parser.parse_args(arguments)
    kept = options.out.read_text() if options.out.exists() else "{}"
    known: dict[str, Any] = json.loads(kept)
    for part in options.parts:
        print(f"== {part}", flush=True)
        known[part] = run(part, options.threads, options.quick)
        options.out.write_text(text({name: known[name] for name in PARTS if name in known}))
    subprocess.run([sys.executable, str(MAKE_PAGE), str(options.out)], check=True)


if __name__ == "__main__":
    main()
