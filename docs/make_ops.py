# pyright: standard
"""Writes docs/ops.md, a page made of the op table alone: `python docs/make_ops.py`.

Everything on the page is asked of the table: the derivative of an element-wise op is what its
entry builds on symbols, the dtypes are those that its type rule takes.  So the page cannot say
what the code does not do, and a test fails where its text is not what the table gives.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from gradloom.ir import dtypes as dt
from gradloom.ir import ops
from gradloom.ir.op import TABLE, Op
from gradloom.ir.tensor import Tensor
from gradloom.tests.op_cases import cases, graph_of

PAGE = Path(__file__).with_name("ops.md")

HEAD = """\
# The op table

*Written by `python docs/make_ops.py` from the table in `ir/ops`; do not edit.*

An op is one entry of the table. For each: what it is applied to (operands; behind the star its
static attributes), what it means, and
- **dtypes** that its type rule takes, and what the result has,
- **derivative**: of an element-wise op the partial derivative by each operand, as the entry builds
  it (both modes follow from it); *linear* ops have a transpose, which
  serves reverse mode, and are their own derivative in forward mode; others bring both modes;
- **batching**: whether `vmap` has a rule,
- **kernels**: what it becomes on CPU and CUDA alike, or that NumPy computes it between kernels,
- **flops** that an element of the result is counted as.
"""

FORMS = {
    "reduction": "a loop that keeps `{combine}` of the values seen, on {identity} first",
    "cumulative": "a loop that stores `{combine}` of the values seen so far",
    "contraction": "the tile product",
    "view": "none: other strides over the operand's memory, or a copy where that cannot be",
    "order": "none: the operand's memory, for kernels that run later",
    "concat": "a copy of each operand into its part of the result",
    "gather": "loads at computed addresses",
    "scatter": "stores at computed addresses, in order",
    "composite": "those of the ops it is expanded into",
    "host": "host fallback: NumPy computes it between kernels",
    "region": "its graph's",
    "request": "gone after differentiation",
    "leaf": "none: it is given",
}

FAMILIES = {
    "bool": ("bool",),
    "signed": ("int8", "int16", "int32", "int64"),
    "unsigned": ("uint8", "uint16", "uint32", "uint64"),
    "halves": ("float16", "bfloat16"),
    "floats": ("float32", "float64"),
}
INFIX = {"add": "+", "subtract": "-", "multiply": "·", "divide": "/", "less": "<", "greater": ">"}
INFIX |= {"less_equal": "≤", "greater_equal": "≥", "equal": "=", "not_equal": "≠"}
INFIX |= {"logical_and": "and", "logical_or": "or"}
LONGEST = 120  # of a derivative, in characters


# --- an entry -------------------------------------------------------------------------------------


def entry(op: Op) -> str:
    """The section of an op."""
    lines = [f"### {op.name}", "", f"    {signature(op)}", "", prose(op.doc), ""]
    facts = {
        "dtypes": dtypes(op),
        "derivative": derivative(op),
        "batching": batching(op),
        "kernels": kernels(op),
        "flops": str(op.flops),
    }
    lines += [f"- **{name}** {text}" for name, text in facts.items() if text]
    return "\n".join([f"{lines[0]} *({op.kind})*", *lines[1:]]) + "\n"


def prose(doc: str) -> str:
    """A docstring on the page: arguments, which it indents, become its paragraphs' lines."""
    return "\n".join(line.strip() for line in doc.strip().splitlines())


def signature(op: Op) -> str:
    """As it is called: the words of the text form, and attributes behind a star."""
    words = (*op.groups, "")
    names = list(op.operands)
    if len(op.groups) > 1 and names:
        names[-1] = f"{words[1]} {names[-1]}"
    parts = [*names, *(["*", *op.attributes] if op.attributes else [])]
    return f"{op.name}({', '.join(parts)})"


def dtypes(op: Op) -> str:
    """Which dtypes of the first operand the type rule takes, and the results' dtypes."""
    found: dict[str, set[str]] = {}
    for case in cases(op, dt.ALL) if op.kind not in ("leaf", "request", "region") else ():
        results = {tensor.dtype.name for tensor in graph_of(case).outputs}
        first = case.dtypes[0].name if case.dtypes else ""
        found.setdefault(first, set()).update(results)
    if not found:
        return ""
    results = sorted({name for names in found.values() for name in names})
    if "dtype" in op.attributes:
        result = "`dtype`"
    elif all(names == {first} for first, names in found.items()):
        result = "the same"
    else:
        result = families(results)
    taken = families(sorted(found)) if "" not in found else ""
    return f"{taken} → {result}".strip()


def families(names: list[str]) -> str:
    """Names of dtypes, whole families by their own name."""
    left, parts = list(names), list[str]()
    for family, members in FAMILIES.items():
        if all(member in left for member in members):
            parts.append(family)
            left = [name for name in left if name not in members]
    return ", ".join([*parts, *left])


def derivative(op: Op) -> str:
    """How the entry gives both modes, or why it does not."""
    if op.no_gradient:
        return f"none: {op.no_gradient}"
    if op.partials is not None:
        return "; ".join(partials(op))
    if op.transpose is not None:
        names = [op.operands[min(i, len(op.operands) - 1)] for i in op.linear]
        return f"linear in {', '.join(dict.fromkeys(names))}, by its transpose"
    if op.vjp is not None or op.jvp is not None:
        return "rules for both modes" if op.vjp and op.jvp else "a rule for one mode"
    return ""


def partials(op: Op) -> Iterator[str]:
    """The partial derivative by each operand, in formulas."""
    assert op.partials is not None
    case = next(case for case in cases(op, [dt.float64], (2,)))
    (result,) = graph_of(case).outputs
    operands = list(result.node.operands)
    names: dict[Tensor, str] = {result: "result", **dict(zip(operands, op.operands, strict=True))}
    attributes = case.attrs if "attrs" in inspect.signature(op.partials).parameters else {}
    for name, partial in zip(
        op.operands, op.partials(*operands, result, **attributes), strict=True
    ):
        yield f"∂{name}: {formula(partial, names)}"


def formula(value: Any, names: dict[Tensor, str]) -> str:
    """A partial derivative as text; True stands for 1, False and None for 0."""
    if value is None:
        return "0"
    if not isinstance(value, Tensor):
        return f"{value:g}"
    text = expression(value, names)
    if len(text) > LONGEST:
        return "a formula of " + ", ".join(sorted(_used(value, names)))
    return f"`1 where {text}`" if value.dtype.kind == "b" else f"`{text}`"


def expression(value: Tensor, names: dict[Tensor, str]) -> str:
    """A graph as one formula over the named tensors, cut where it grows too long."""
    if value in names.keys():
        return names[value]
    node = value.node
    if node.op.name == "constant":
        return f"{node.attrs['value'].values.reshape(-1)[0]:g}"
    if node.op.name in ("cast", "broadcast_to", "stop_gradient"):
        return expression(node.operands[0], names)
    parts = list[str]()
    for operand in node.operands:
        parts.append(expression(operand, names))
        if sum(map(len, parts)) > LONGEST:
            return "…" * (LONGEST + 1)
    if node.op.name in INFIX:
        return f"({parts[0]} {INFIX[node.op.name]} {parts[1]})"
    if node.op.name == "negative":
        return f"-{parts[0]}"
    return f"{node.op.name}({', '.join(parts)})"


def _used(value: Tensor, names: dict[Tensor, str]) -> set[str]:
    """The ops of a formula."""
    seen, pending, found = set[Tensor](), [value], set[str]()
    while pending:
        tensor = pending.pop()
        if tensor in seen or tensor in names.keys():
            continue
        seen.add(tensor)
        pending += tensor.node.operands
        found.add(tensor.node.op.name)
    return found - {"constant", "cast"}


def batching(op: Op) -> str:
    if op.kind == "elementwise":
        return "by broadcasting"
    return "a rule" if op.batch is not None else "" if not op.operands else "none"


def kernels(op: Op) -> str:
    """The form on CPU and CUDA."""
    if op.code:
        checked = f", where `{op.check}` holds or the call fails" if op.check else ""
        return f"`{' '.join(op.code.split())}`{checked}"
    text = FORMS.get(op.kind, op.kind).format(combine=op.combine, identity=op.identity)
    if op.kind != "composite" or op.expand is None:
        return text
    return f"expanded: {', '.join(sorted(expansion(op))) or 'nothing'}"


def expansion(op: Op) -> set[str]:
    """The ops that a composite becomes, of its first sample."""
    case = next(cases(op))
    (result, *_) = graph_of(case).outputs
    assert op.expand is not None
    inputs = dict.fromkeys(result.node.operands, "")
    found = set[str]()
    for tensor in op.expand(result.node):
        found |= _used(tensor, inputs)
    return found


# --- functions of other ops -----------------------------------------------------------------------


def namespaces() -> dict[str, ModuleType]:
    """The public modules of functions, by the prefix that users write."""
    found = {"gl": ops}
    for name in ops.__all__:
        value = getattr(ops, name)
        if isinstance(value, ModuleType):
            found[f"gl.{name}"] = value
    return found


def functions() -> dict[str, str]:
    """The line of each public function that is made of ops, or is another name of one."""
    found: dict[str, str] = {}
    for prefix, module in namespaces().items():
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.isfunction(value) or is_entry(name, value):
                continue
            full = f"{prefix}.{name}"
            found[full] = f"- `{full}{parameters(value)}`: {first_line(value)}\n"
    return dict(sorted(found.items()))


def is_entry(name: str, function: Callable[..., Any]) -> bool:
    """Whether the function applies the op of its name and nothing else."""
    names = list(inspect.signature(function).parameters)
    return name in TABLE and names == [*TABLE[name].operands, *TABLE[name].attributes]


def parameters(function: Callable[..., Any]) -> str:
    """The signature without types."""
    plain = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in plain.parameters.values()]
    return str(plain.replace(parameters=bare, return_annotation=plain.empty))


def first_line(function: Callable[..., Any]) -> str:
    """The docstring up to its first empty line, as one line."""
    doc = inspect.getdoc(function) or "(no docstring)"
    return " ".join(doc.split("\n\n")[0].split())


# --- the page -------------------------------------------------------------------------------------


def entries() -> dict[str, str]:
    """The section of each op, by name."""
    return {name: entry(TABLE[name]) for name in sorted(TABLE)}


def has_derivative(op: Op) -> bool:
    return op.partials is not None or op.transpose is not None or op.vjp is not None


def summary() -> str:
    """Counts, and the ops that stand out."""
    kinds = Counter(op.kind for op in TABLE.values())
    without: dict[str, list[str]] = {}
    for name in sorted(TABLE):
        if TABLE[name].no_gradient:
            without.setdefault(TABLE[name].no_gradient, []).append(name)
    lines = [
        f"{len(TABLE)} ops ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}), of "
        f"which {sum(map(has_derivative, TABLE.values()))} have derivatives, and "
        f"{len(functions())} functions made of them.",
        "",
        "**Without a derivative**, because:",
        *(f"- {reason}: {', '.join(names)}" for reason, names in sorted(without.items())),
        "",
        "**Host fallbacks** (NumPy computes them, on every target): "
        + ", ".join(sorted(name for name, op in TABLE.items() if op.kind == "host")),
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """All of docs/ops.md."""
    parts = [HEAD, summary(), "## Ops\n", *entries().values()]
    parts += ["## Functions made of ops\n", "".join(functions().values())]
    return "\n".join(parts)


def read(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """The entries and the functions' lines of a page."""
    above, below = text.split("\n## Functions made of ops\n\n")
    sections = [f"### {part}" for part in above.split("\n### ")[1:]]
    found = {section.split()[1]: section.rstrip("\n") + "\n" for section in sections}
    lines = [line for line in below.splitlines(keepends=True) if line.startswith("- `")]
    return found, {line.split("`")[1].split("(")[0]: line for line in lines}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(TABLE)} ops, {len(functions())} functions")
