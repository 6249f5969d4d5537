"""What the op table has and lacks, and how the checks that it generates went.

    python -m pytest -q -m "" --junitxml=report.xml \\
        tests/test_ops.py tests/test_op_derivatives.py tests/test_cuda_ops.py
    python tests/op_report.py report.xml

prints the number of ops; for each the generated checks that exist and that pass; the ops without
a type rule, a reference, or a form for CPU and CUDA, of which there must be none.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence

from gradloom.compiler.pipeline import compile_graph
from gradloom.frontends.function import cpu_target
from gradloom.ir.op import TABLE, Op
from gradloom.ir.program import Host, walk
from gradloom.ir.target import Target
from gradloom.tests.op_cases import OPS, cases, graph_of, ordinary_arrays, references

# What these are is given or expanded, never computed as it stands.
GIVEN = ("leaf", "region", "request")


def missing() -> dict[str, list[str]]:
    """What is lacking, and which ops lack it; that it is there is seen by using it."""
    found: dict[str, list[str]] = {}
    for op in TABLE.values():
        if op.kind not in GIVEN:
            for what in lacking(op):
                found.setdefault(what, []).append(op.name)
    return found


def lacking(op: Op) -> list[str]:
    """The columns in which an op has nothing."""
    case = next(iter(cases(op)), None) if op in OPS else None
    if case is None:
        return ["a case that its type rule takes"]
    graph = graph_of(case)
    found: list[str] = []
    if len(references(op, ordinary_arrays(case), case.attrs)) != len(graph.outputs):
        found.append("a reference")
    found += [f"{name} code" for name in ("CPU", "CUDA") if not has_form(op, name)]
    if not op.doc:
        found.append("a docstring")
    if not (op.no_gradient or op.partials or op.transpose or op.vjp):
        found.append("a derivative or a reason why there is none")
    return found


def has_form(op: Op, target: str) -> bool:
    """Whether the op becomes kernels with source, a host call, or strides alone, which are copied
    where a graph is nothing else."""
    graph = graph_of(next(case for case in cases(op) if all(0 not in s for s in case.shapes)))
    program = compile_graph(graph, cpu_target() if target == "CPU" else Target("cuda")).program
    assert program is not None
    hosted = [step for step in walk(program.steps) if isinstance(step, Host)]
    if op.kind == "host":
        return any(step.op == op.name for step in hosted)
    return all(kernel.source for kernel in program.kernels) and bool(program.steps)


def checks(reports: Sequence[str]) -> tuple[Counter[str], Counter[str]]:
    """How many checks each op has in pytest's XML, and how many of them pass."""
    there, passed = Counter[str](), Counter[str]()
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.get("name", "").partition("[")[2].rstrip("]")
            op = next((part for part in (name, *name.split("-")) if part in TABLE), None)
            if op is None or case.find("skipped") is not None:
                continue
            there[op] += 1
            passed[op] += case.find("failure") is None and case.find("error") is None
    return there, passed


def report(reports: Sequence[str]) -> int:
    """Print it all; the number of what is wrong."""
    there, passed = checks(reports)
    print(f"{len(TABLE)} ops, {sum(passed.values())} of {sum(there.values())} checks pass")
    for name in sorted(there):
        mark = "" if passed[name] == there[name] else "  FAILS"
        print(f"  {name:24} {passed[name]:4} of {there[name]:4}{mark}")
    lacks = missing()
    for what, names in lacks.items():
        print(f"without {what}: {', '.join(names)}")
    if not lacks:
        print("every op has a type rule, a reference, CPU and CUDA code or a host fallback")
    unchecked = [op.name for op in OPS if reports and not there[op.name]]
    if unchecked:
        print(f"without a check: {', '.join(unchecked)}")
    return len(lacks) + len(unchecked) + sum((there - passed).values())


if __name__ == "__main__":
    sys.exit(report(sys.argv[1:]) > 0)
