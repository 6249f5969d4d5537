# pyright: standard
"""What a kernel may be made of. Kernel text is code: it is read and judged before it is compiled.

One function of the five arguments; `for` over `range`, `if`, assignments to names; arithmetic,
comparisons, calls of the vocabulary's names, numbers, and `dims[k]`. No attributes, strings,
imports, other subscripts, or names of the host: a text that passes can do nothing but compute on
the memory that it is handed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection

ARGUMENTS = ["buffers", "dims", "status", "tid", "nth"]

# Nodes that are fine wherever the grammar lets them stand.
_PLAIN = {
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.If, ast.Pass, ast.Load, ast.Store, ast.arg,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.LShift, ast.RShift,
    ast.BitAnd, ast.BitOr, ast.BitXor, ast.USub, ast.UAdd, ast.Invert, ast.Not, ast.And, ast.Or,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq,
}  # fmt: skip


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float, bool)


def _is_index(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value >= 0


def check_source(text: str, names: Collection[str]) -> ast.FunctionDef:
    """The function in a kernel's text. `names` are those that may be called (`range` among them).

    Raises:
        ValueError: for anything that a kernel is not made of, naming the line.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ValueError(f"kernel, line {line}: not Python: {error}") from error
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise ValueError("kernel, line 1: a kernel is one function and nothing else")
    function = body[0]

    def is_local(node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id not in names

    def is_call(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in names
            and not node.keywords
        )

    # Per kind of node: what must hold of it, and what to say if it does not.
    rules: dict[type[ast.AST], tuple[Callable[..., bool], str]] = {
        ast.FunctionDef: (
            lambda node: (
                node is function
                and not (node.decorator_list or node.returns or node.name.startswith("_"))
                and node.name not in names
            ),
            "one plain function, no other inside it",
        ),
        ast.arguments: (
            lambda node: (
                [item.arg for item in node.args] == ARGUMENTS
                and not any(item.annotation for item in node.args)
                and not (node.posonlyargs or node.kwonlyargs or node.vararg or node.kwarg)
                and not node.defaults
            ),
            f"the arguments are {', '.join(ARGUMENTS)}",
        ),
        ast.For: (
            lambda node: (
                is_local(node.target)
                and is_call(node.iter)
                and node.iter.func.id == "range"
                and not node.orelse
            ),
            "a loop is `for name in range(...)`",
        ),
        ast.Assign: (
            lambda node: len(node.targets) == 1 and is_local(node.targets[0]),
            "one plain name is assigned to",
        ),
        ast.AugAssign: (lambda node: is_local(node.target), "one plain name is assigned to"),
        ast.Expr: (lambda node: is_call(node.value), "a statement is a call"),
        ast.Call: (is_call, "only names of the vocabulary are called, with positional arguments"),
        ast.Name: (lambda node: not node.id.startswith("_"), "no name begins with an underscore"),
        ast.Subscript: (
            lambda node: (
                isinstance(node.value, ast.Name)
                and node.value.id == "dims"
                and _is_index(node.slice)
                and isinstance(node.ctx, ast.Load)
            ),
            "only dims[number] is read by subscript",
        ),
        ast.Compare: (lambda node: len(node.ops) == 1, "a comparison has two sides"),
        ast.Constant: (_is_number, "a constant is a number"),
    }
    pending: list[tuple[ast.AST, ast.AST]] = [(function, function)]
    while pending:
        node, around = pending.pop()
        place = node if hasattr(node, "lineno") else around  # operators have no line of their own
        pending.extend((child, place) for child in ast.iter_child_nodes(node))
        if type(node) in _PLAIN:
            continue
        holds, otherwise = rules.get(type(node), (lambda _: False, "this is not part of a kernel"))
        if not holds(node):
            shown = ast.unparse(place).split("\n")[0][:80]
            line = getattr(place, "lineno", 1)
            raise ValueError(f"kernel, line {line}: {otherwise}, unlike {shown!r}")
    return function
