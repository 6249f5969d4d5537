"""Runs the standard's conformance suite on gradloom and writes docs/array_api.md from it.

    python tests/array_api/run.py path/to/array-api-tests

The suite must stand at a commit that works for a library without complex numbers (see the page);
it needs pytest, hypothesis, ndindex and pytest-json-report.  A test that fails is an error, and is
said on the page.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gradloom.tests import array_api as xp
from gradloom.tests.array_api.standard import API_VERSION, EXTENSIONS, NOT_COVERED, SECTIONS

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "array_api.md"
EXAMPLES, ARRAY_SIZE = 100, 64

HEAD = f"""\
# The array API standard

*Written by `python tests/array_api/run.py` from a run of the standard's own suite; do not edit.*

gradloom builds graphs; the suite computes. Between them stands `tests/array_api`: arrays over
NumPy's memory, whose every function and operator builds a graph of placeholders, compiles it and
runs the program. Below is each function of version {API_VERSION}, with the number of the suite's
tests that name it and pass. Functions whose results have a shape that depends on data cannot be in
a static graph, and there are no complex numbers; both count as not covered.
"""


def full_name(section: str, name: str) -> str:
    return f"{section}.{name}" if section in EXTENSIONS else name


FUNCTIONS = {full_name(s, name): (s, name) for s, names in SECTIONS.items() for name in names}
MAIN = {name for s, names in SECTIONS.items() if s not in EXTENSIONS for name in names}


@dataclass
class Outcome:
    """What became of the tests: by the name that they test, and of all."""

    passed: Counter[str] = field(default_factory=Counter[str])
    failed: list[str] = field(default_factory=list[str])
    skipped: int = 0

    @property
    def total(self) -> int:
        return sum(self.passed.values())


# --- the run --------------------------------------------------------------------------------------


def missing_tests() -> list[str]:
    """Tests that a missing function has because the standard names it."""
    found: list[str] = []
    for name in NOT_COVERED:
        section, short = FUNCTIONS[name]
        if section in EXTENSIONS:
            found.append(f"array_api_tests/test_has_names.py::test_has_names[{section}-{short}]")
            signature = f"test_extension_func_signature[{section}.{short}]"
            found.append(f"array_api_tests/test_signatures.py::{signature}")
            found.append(f"array_api_tests/test_{section}.py::test_{short}")
        else:
            found.append(f"array_api_tests/test_signatures.py::test_func_signature[{short}]")
            category = {"Sets": "set", "Searching": "searching"}.get(section, "elementwise")
            found.append(f"array_api_tests/test_has_names.py::test_has_names[{category}-{short}]")
    return found


def run_suite(suite: Path, examples: int) -> Outcome:
    """One run of all tests but those that are skipped."""
    with tempfile.TemporaryDirectory() as folder:
        skips, report = Path(folder) / "skips.txt", Path(folder) / "report.xml"
        skips.write_text((HERE / "skips.txt").read_text() + "\n".join([*missing_tests(), ""]))
        settings = {
            "ARRAY_API_TESTS_MODULE": xp.__name__,
            "ARRAY_API_TESTS_VERSION": API_VERSION,
            "ARRAY_API_TESTS_SKIP_DTYPES": "complex64,complex128",
            "ARRAY_API_TESTS_MAX_ARRAY_SIZE": str(ARRAY_SIZE),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--max-examples", str(examples), "--hypothesis-disable-deadline"]
        command += ["--hypothesis-derandomize", "--disable-data-dependent-shapes"]
        command += ["--skips-file", str(skips), "-W", "ignore", "-k", "not imag"]
        command += [f"--junitxml={report}", "array_api_tests"]
        subprocess.run(command, cwd=suite, env={**os.environ, **settings}, check=False)
        return read(report)


def read(report: Path) -> Outcome:
    """The outcome of a run, from pytest's XML."""
    outcome = Outcome()
    for case in ElementTree.parse(report).iter("testcase"):
        place, name = case.get("classname", ""), case.get("name", "")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(f"{place.split('.')[1]}::{name}")
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed[tested(place, name)] += 1
    return outcome


def tested(place: str, name: str) -> str:
    """The function or method that a test is about, or "" where its name does not say."""
    base, _, parameter = name.removeprefix("test_").partition("[")
    extension, _, rest = parameter.partition("." if "." in parameter else "-")
    if extension in EXTENSIONS:
        return f"{extension}.{rest.rstrip(']')}"
    for word in re.findall(r"[A-Za-z_]\w*", parameter):
        if word in MAIN or re.fullmatch(r"__\w+__", word):
            return word
    if place.endswith("TestResultType"):
        return "result_type"
    if base.startswith("linalg_"):
        return f"linalg.{base.removeprefix('linalg_')}"
    if base in ("getitem", "setitem") or base.startswith(("getitem_", "setitem_")):
        return f"__{base.partition('_')[0]}__"
    names = [n for n in MAIN if base == n or base.startswith(f"{n}_")]
    if names:
        return max(names, key=len)
    return f"linalg.{base}" if f"linalg.{base}" in FUNCTIONS else ""


# --- the page -------------------------------------------------------------------------------------


def page(outcome: Outcome, commit: str, examples: int) -> str:
    there = [name for name, (section, short) in FUNCTIONS.items() if xp.covered(section, short)]
    main = [name for name in there if name in MAIN]
    lines = [
        HEAD,
        f"**{len(there)} of {len(FUNCTIONS)} functions, {len(there) / len(FUNCTIONS):.0%}** "
        f"(without the extensions `linalg` and `fft` {len(main)} of {len(MAIN)}, "
        f"{len(main) / len(MAIN):.0%}).",
        "",
        f"The suite, `data-apis/array-api-tests` at {commit}, with {examples} examples a test: "
        f"**{outcome.total} tests pass, {len(outcome.failed)} fail**, {outcome.skipped} are "
        "skipped, for the reasons at the end; cases of complex numbers are left out.",
        "",
    ]
    for section, names in SECTIONS.items():
        lines += [f"## {section}", "", "| function | tests passed | |", "|---|---|---|"]
        for name in names:
            full = full_name(section, name)
            count = str(outcome.passed[full] or "") if full in there else ""
            reason = "" if full in there else f"not covered: {NOT_COVERED.get(full, 'to do')}"
            lines.append(f"| `{full}` | {count} | {reason} |")
        lines.append("")
    methods = sorted(name for name in outcome.passed if name not in FUNCTIONS and name)
    lines += ["## Methods of arrays", "", "| method | tests passed |", "|---|---|"]
    lines += [f"| `{name}` | {outcome.passed[name]} |" for name in methods]
    lines += ["", f"{outcome.passed['']} more tests name no function.", ""]
    if outcome.failed:
        lines += ["## Failing", "", *(f"- `{name}`" for name in sorted(outcome.failed)), ""]
    lines += ["## Skipped by hand", "", *skip_list()]
    return "\n".join(lines) + "\n"


def skip_list() -> list[str]:
    """The skip file as a list: each reason with its tests."""
    found: list[str] = []
    for line in (HERE / "skips.txt").read_text().splitlines():
        if line.startswith("#"):
            found.append(f"- {line.removeprefix('#').strip()}")
        elif line:
            found.append(f"  - `{line.removeprefix('array_api_tests/')}`")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("suite", type=Path, help="a checkout of data-apis/array-api-tests")
    parser.add_argument("--max-examples", type=int, default=EXAMPLES)
    options = parser.parse_args()
    git = ["git", "-C", str(options.suite), "rev-parse", "--short=10", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    outcome = run_suite(options.suite, options.max_examples)
    PAGE.write_text(page(outcome, commit, options.max_examples), encoding="utf-8")
    print(f"{PAGE.name}: {outcome.total} passed, {len(outcome.failed)} failed")
    return len(outcome.failed) > 0


if __name__ == "__main__":
    sys.exit(main())
