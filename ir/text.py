# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (arrays of any dtype)
"""The text form of graphs: printing and parsing, ``parse(str(graph)) == graph``.

    graph @step(%x: f32[B,784], %w: param f32[784,10]) {
      %0 = matmul %x, %w : f32[B,10]    @ digits.py:12
      %1 = gradient %0 wrt %w : f32[784,10]
      return %0, update %w = %1
    }

Operand groups after the first are announced by a word; attributes stand in braces as Python
literals, dtypes and dimensions; regions in parentheses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from .array import Array, large
from .dims import Dim, parse_dim, parse_dims
from .dtypes import BY_SHORT, DType
from .errors import GradloomError, ParseError
from .graph import Constraint, Graph
from .loc import Loc, parse_loc, print_loc
from .op import TABLE
from .tensor import Node, Tensor, TensorType

# --- printing ---------------------------------------------------------------------------------


def print_attribute(value: Any) -> str:
    """One attribute value as text."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "none"
        case float():
            return repr(value)
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'"{escaped}"'
        case tuple():
            items: tuple[Any, ...] = value
            inner = ", ".join(print_attribute(item) for item in items)
            return f"({inner},)" if len(items) == 1 else f"({inner})"
        case int() | Dim() | DType() | Array():
            return str(value)
        case _:
            raise TypeError(f"attribute {value!r} has no text form")


def print_node(graph: Graph, node: Node, locs: bool = True, indent: str = "  ") -> str:
    """One line (and the lines of its regions)."""
    names = graph.names
    groups: list[str] = []
    start = 0
    for word, count in zip(node.op.groups, node.groups, strict=True):
        operands = ", ".join("%" + names[t] for t in node.operands[start : start + count])
        start += count
        if word and count:
            groups.append(f"{word} {operands}")
        elif operands:
            groups.append(operands)
    text = ", ".join("%" + names[result] for result in node.results)
    text = " ".join([f"{text} = {node.op.name}" if text else node.op.name, *groups])
    if node.attrs:
        inner = ", ".join(f"{key}={print_attribute(v)}" for key, v in node.attrs.items())
        text += f" {{{inner}}}"
    for region in node.regions:
        body = print_graph(region, locs, indent + "  ")
        text += f" (\n{indent}  {body}\n{indent})"
    text += " : " + ", ".join(str(result.type) for result in node.results)
    return text + print_loc(node.loc) if locs else text


def print_graph(graph: Graph, locs: bool = True, indent: str = "") -> str:
    """The whole graph; without `locs`, the text is a canonical key."""
    names = graph.names
    arguments = [f"%{names[t]}: {t.type}" for t in graph.inputs]
    arguments += [f"%{names[t]}: param {t.type}" for t in graph.parameters]
    lines = [f"graph @{graph.name}({', '.join(arguments)}) {{"]
    for constraint in graph.constraints:
        tail = print_loc(constraint.loc) if locs else ""
        lines.append(f"{indent}  where {constraint}{tail}")
    for node in graph.nodes:
        lines.append(f"{indent}  {print_node(graph, node, locs, indent + '  ')}")
    results = [f"%{names[t]}" for t in graph.outputs]
    results += [f"update %{names[p]} = %{names[v]}" for p, v in graph.updates]
    lines.append(f"{indent}  return {', '.join(results)}".rstrip())
    return "\n".join([*lines, indent + "}"])


# --- parsing ----------------------------------------------------------------------------------

_DTYPES = "|".join(BY_SHORT)
_TOKEN = re.compile(
    r"\s*(?:(?P<loc>@ [^\n]*)|(?P<graph>@[\w.-]+)|(?P<value>%[\w.-]+)"
    rf"|(?P<type>(?:{_DTYPES})\[[^\]]*\])|(?P<word>\w+)|(?P<mark>[{{}}()=:,]))"
)


class _Parser:
    def __init__(self, text: str, blobs: Mapping[str, Any]) -> None:
        self.text, self.blobs = text, blobs
        self.at = 0

    def fail(self, message: str) -> NoReturn:
        line = self.text.count("\n", 0, self.at) + 1
        start = self.text.rfind("\n", 0, self.at) + 1
        quoted = self.text[start:].split("\n", 1)[0].strip()
        raise ParseError(f"line {line}: {message}: {quoted}")

    def peek(self) -> str:
        match = _TOKEN.match(self.text, self.at)
        return match.group(0).lstrip() if match else ""

    def take(self, expected: str = "", kind: str = "") -> str:
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            self.fail(f"expected {expected or kind or 'a token'}")
        token = match.group(0).lstrip()
        if (expected and token != expected) or (kind and match.lastgroup != kind):
            self.fail(f"expected {expected or kind}, found {token!r}")
        self.at = match.end()
        return token

    def accept(self, expected: str) -> bool:
        if self.peek() == expected:
            self.take()
            return True
        return False

    def type(self) -> TensorType:
        token = self.take(kind="type")
        short, inner = token[:-1].split("[", 1)
        return TensorType(BY_SHORT[short], parse_dims(inner))

    def loc(self) -> Loc:
        if not self.peek().startswith("@ "):
            return ()
        return parse_loc(self.take(kind="loc")[2:])

    def graph(self) -> Graph:
        self.take("graph")
        name = self.take(kind="graph")[1:]
        values: dict[str, Tensor] = {}
        leaves: dict[str, list[Tensor]] = {"input": [], "parameter": []}
        self.take("(")
        while not self.accept(")"):
            key = self.take(kind="value")[1:]
            self.take(":")
            kind = "parameter" if self.accept("param") else "input"
            type_ = self.type()
            attrs = {"name": key, "dtype": type_.dtype, "shape": type_.shape}
            values[key] = Node(TABLE[kind], (), attrs, loc=()).results[0]
            leaves[kind].append(values[key])
            self.accept(",")
        self.take("{")
        constraints: list[Constraint] = []
        while self.accept("where"):
            start = self.at
            end = self.text.find("\n", start)
            left, right = self.text[start:end].split(" @ ")[0].split("==")
            self.at = start + len(self.text[start:end].split(" @ ")[0].rstrip())
            constraints.append(Constraint(parse_dim(left), parse_dim(right), self.loc()))
        while not self.accept("return"):
            self.node(values)
        outputs: list[Tensor] = []
        updates: list[tuple[Tensor, Tensor]] = []
        while not self.accept("}"):
            if self.accept("update"):
                target = self.value(values)
                self.take("=")
                updates.append((target, self.value(values)))
            else:
                outputs.append(self.value(values))
            self.accept(",")
        parts = (name, leaves["input"], outputs, updates, leaves["parameter"])
        return Graph(*parts, _complete(constraints, Graph(*parts).constraints))

    def value(self, values: dict[str, Tensor]) -> Tensor:
        key = self.take(kind="value")[1:]
        if key not in values:
            self.fail(f"%{key} is not defined")
        return values[key]

    def node(self, values: dict[str, Tensor]) -> None:
        names: list[str] = []
        while self.peek().startswith("%"):
            names.append(self.take()[1:])
            self.accept(",")
        self.take("=")
        op = TABLE.get(self.take(kind="word"))
        if op is None:
            self.fail("no such op")
        groups = [0] * len(op.groups)
        operands: list[Tensor] = []
        for position, word in enumerate(op.groups):
            if word and not self.accept(word):
                continue
            while self.peek().startswith("%"):
                operands.append(self.value(values))
                groups[position] += 1
                self.accept(",")
        attrs = self.attributes() if self.peek() == "{" else {}
        regions: list[Graph] = []
        while self.accept("("):
            regions.append(self.graph())
            self.take(")")
        self.take(":")
        types: list[TensorType] = [self.type()] if _TOKEN.match(self.text, self.at) else []
        while self.accept(","):
            types.append(self.type())
        loc = self.loc()
        if op.name == "constant":
            attrs["value"] = self.constant(attrs["value"], types[0])
        starred = op.operands[-1:] and op.operands[-1].startswith("*")
        plain = len(op.operands) - bool(starred)
        wrong = groups[0] < plain if starred and len(op.groups) == 1 else groups[0] != plain
        required = attrs.keys() - set(op.optional)
        if (op.operands and wrong) or required != set(op.attributes):
            wanted = ", ".join((*op.operands, *op.attributes)) or "nothing"
            self.fail(f"{op.name} takes {wanted}")
        try:
            node = Node(op, operands, attrs, tuple(groups), tuple(regions), loc)
        except GradloomError as error:
            self.fail(str(error).partition("\n")[0])
        found = [result.type for result in node.results]
        if found != types or len(names) != len(types):
            self.fail(f"{op.name} gives {', '.join(map(str, found))}")
        values.update(zip(names, node.results, strict=True))

    def constant(self, value: Any, type_: TensorType) -> Array:
        if isinstance(value, Array):
            return value
        return Array(np.array(value, type_.dtype.numpy).reshape(type_.shape))  # type: ignore[arg-type]

    def attributes(self) -> dict[str, Any]:
        start = self.text.index("{", self.at)
        match = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^"}])*').match(self.text, start + 1)
        if match is None:
            self.fail("unfinished attributes")
        source = match.group(0)
        self.at = match.end() + 1
        try:
            return parse_attributes(source, self.blobs)
        except (SyntaxError, ParseError) as error:
            self.fail(f"attributes {{{source}}} do not parse: {error}")


def parse_attributes(source: str, blobs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Attributes from the text between their braces."""
    call = ast.parse(f"f({source})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(k.arg): _attribute(k.value, blobs or {}) for k in call.keywords}


def _attribute(node: ast.expr, blobs: Mapping[str, Any]) -> Any:
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    words |= {"nan": float("nan"), "inf": float("inf")} | BY_SHORT
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in words:
            return words[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() | ast.Name(id="inf" | "nan")):
            return -_attribute(node.operand, blobs)
        case ast.Tuple(elts=items):
            return tuple(_attribute(item, blobs) for item in items)
        case ast.List(elts=items):
            return [_attribute(item, blobs) for item in items]
        case ast.Call(func=ast.Name(id="blob"), args=[ast.Constant(value=str(digest))]):
            found = Array(blobs[digest]) if digest in blobs else large(digest)
            if found is None:
                raise ParseError(f"the constant {digest} is not given; pass it in constants=")
            return found
        case _:
            return parse_dim(ast.unparse(node))


def _complete(written: list[Constraint], needed: Sequence[Constraint]) -> list[Constraint]:
    """The constraints of the text, with those that the nodes need and it does not imply."""
    group: dict[str, str] = {}

    def find(size: str) -> str:
        while size in group:
            size = group[size]
        return size

    result = list(written)
    for position, constraint in enumerate([*written, *needed]):
        left, right = find(str(constraint.left)), find(str(constraint.right))
        if left != right:
            group[left] = right
            if position >= len(written):
                result.append(constraint)
    return result


def parse(text: str, constants: Mapping[str, Any] | None = None) -> Graph:
    """The graph that `text` spells.

    constants: large constants by their hash, for text from another process
    (``constants_of(graph)`` gives them).  Raises ParseError with the line.
    """
    parser = _Parser(text, constants or {})
    graph = parser.graph()
    if parser.text[parser.at :].strip():
        parser.fail("text after the graph")
    return graph


def constants_of(graph: Graph) -> dict[str, np.ndarray[Any, Any]]:
    """The constants that print as a hash, to be kept beside the text."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for node in graph.walk():
        value = node.attrs.get("value")
        if isinstance(value, Array) and not value.is_inline:
            found[value.digest] = value.values
    return found
