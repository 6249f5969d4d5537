# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (structures of tensors)
"""Random loops, written once and built two ways: as loops, and as the graph they unroll to.

A `Loop` is drawn up front and only says numbers: what a body does is the same whenever it is
called, once for a loop, once a step for the unrolled graph.  Whatever it makes stays of ordinary
size over a few steps, so that the two ways may be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradloom as gl
from gradloom.ir import dtypes as dt
from gradloom.ir.ops.control import placeholder_like
from gradloom.ir.tensor import Tensor, TensorType

from .graphs import Dice, placeholder
from .loop_ways import leaves_of

SIZE = 3  # of vectors, which are also the samples of a loop with lengths
MOST = 5  # steps
Pools = dict[str, list[Tensor]]

TYPES = {
    "v": TensorType(dt.float64, (SIZE,)),
    "s": TensorType(dt.float64, ()),
    "n": TensorType(dt.int64, ()),
    "b": TensorType(dt.bool_, ()),
    "h": TensorType(dt.float32, (SIZE,)),
}


# --- what is drawn -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """One thing that a body does, to operands by number; or a loop in it."""

    name: str
    picks: tuple[int, int]
    inner: Loop | None = None


@dataclass(frozen=True)
class Loop:
    """A loop, a branch, a map or a checkpoint.

    carries, entries, rows: kinds of what is carried, gone over, stacked.
    ends: for each carry and row, which tensor of its kind the body gives, and how it is bounded.
    """

    form: str
    carries: tuple[str, ...]
    entries: tuple[str, ...]
    rows: tuple[str, ...]
    moves: tuple[Move, ...]
    others: tuple[tuple[Move, ...], ...]  # those of further branches
    ends: tuple[tuple[int, int], ...]
    structure: int
    length: int
    reverse: bool

    def inner(self) -> list[Loop]:
        """Those that stand in it."""
        moves = [move for moves in (self.moves, *self.others) for move in moves]
        return [move.inner for move in moves if move.inner is not None]

    def forms(self) -> set[str]:
        """Its own, and those in it."""
        return {self.form}.union(*(loop.forms() for loop in self.inner()))

    def is_mixed(self) -> bool:
        """Whether float32 numbers are among its own."""
        moves = [move.name for moves in (self.moves, *self.others) for move in moves]
        own = "h" in (*self.carries, *self.entries, *self.rows) or "narrow" in moves
        return own or any(loop.is_mixed() for loop in self.inner())


OUTER = ("scan", "scan", "scan", "until", "lengths", "both", "while", "vmap", "segments")
SEGMENTS = (2, "sqrt", "log")
BRANCHES = ("cond", "switch", "checkpoint")
INNER = (*OUTER, *BRANCHES, "cond", "map")


def draw_loop(dice: Dice, depth: int = 1, forms: Sequence[str] = OUTER, mixed: int = -1) -> Loop:
    """A loop with loops in it, `depth` deep; floats of two widths in one of three."""
    mixed = dice.integer(0, 2) if mixed < 0 else mixed
    kinds = ("v", "v", "s", "n", "b", "h") if mixed == 0 else ("v", "v", "s", "n", "b")
    form = dice.one_of(forms)
    wide = ("v", "h") if mixed == 0 else ("v",)
    own = wide if form in ("lengths", "both") else kinds
    carries, entries, rows = (
        tuple(dice.one_of(own) for _ in range(dice.integer(low, 2))) for low in (1, 0, 0)
    )
    if form in (*BRANCHES, "map", "vmap"):
        carries, rows, entries = (), rows or ("v",), entries or ("v",)
    if form == "while":
        rows, entries = (), ()
    moves = _draw_moves(dice, depth, mixed)
    count = {"cond": 1, "switch": dice.integer(0, 2)}.get(form, 0)
    others = tuple(_draw_moves(dice, depth, mixed) for _ in range(count))
    ends = tuple((dice.integer(0, 5), dice.integer(0, 2)) for _ in (*carries, *rows))
    structure, length = dice.integer(0, 2), dice.one_of((0, 1, 2, 3, 3, MOST))
    return Loop(
        *(form, carries, entries, rows, moves, others, ends, structure, length),
        reverse=dice.flag(),
    )


def _draw_moves(dice: Dice, depth: int, mixed: int) -> tuple[Move, ...]:
    moves: list[Move] = []
    names = sorted(MOVES) if mixed == 0 else sorted(MOVES.keys() - {"narrow"})
    for _ in range(dice.integer(1, 4)):
        inner = None
        if depth and dice.integer(0, 2) == 0:
            inner = draw_loop(dice, depth - 1, INNER, mixed)
        name = "loop" if inner is not None else dice.one_of(names)
        moves.append(Move(name, (dice.integer(0, 7), dice.integer(0, 7)), inner))
    return tuple(moves)


# --- what bodies do ------------------------------------------------------------------------------


class World:
    """The inputs of both graphs: what bodies capture, the sequences, and how many steps samples
    take."""

    def __init__(self, loop: Loop) -> None:
        self.w = placeholder("w", (SIZE, SIZE), dt.float64)
        self.table = placeholder("table", (4, SIZE), dt.float64)
        self.pools: Pools = {
            kind: [placeholder_like(type_, f"given_{kind}")] for kind, type_ in TYPES.items()
        }
        self.init = [placeholder_like(TYPES[k], f"init{i}") for i, k in enumerate(loop.carries)]
        self.xs = [
            placeholder(f"xs{i}", (loop.length, *TYPES[k].shape), TYPES[k].dtype)
            for i, k in enumerate(loop.entries)
        ]
        self.lengths = placeholder("lengths", (SIZE,), dt.int64)

    @property
    def inputs(self) -> list[Tensor]:
        """All of them."""
        given = [tensor for pool in self.pools.values() for tensor in pool]
        return [self.w, self.table, *given, *self.init, *self.xs, self.lengths]


def pick(pools: Pools, kind: str, number: int) -> Tensor:
    """A tensor of the kind, later ones first."""
    pool = pools[kind]
    return pool[-1 - number % len(pool)]


def _unary(world: World, v: Tensor, s: Tensor, number: int) -> Tensor:
    ways: list[Callable[[], Tensor]] = [
        lambda: gl.tanh(v),
        lambda: gl.sin(v + s),
        lambda: v * v / (1 + v * v),
        lambda: gl.softmax(v),
        lambda: gl.exp(-v * v),
        lambda: gl.sigmoid(v) * s,
        lambda: gl.cumulative_sum(v) / 3,
        lambda: gl.sqrt(v * v + 1) - 1,
    ]
    return ways[number % len(ways)]()


def _binary(world: World, a: Tensor, b: Tensor, number: int) -> Tensor:
    ways: list[Callable[[], Tensor]] = [
        lambda: (a + b) / 2,
        lambda: a * gl.tanh(b),
        lambda: a - b,
        lambda: gl.maximum(a, b),
        lambda: gl.where(a > b, gl.sin(a), b),
        lambda: a / (1 + b * b),
        lambda: gl.logaddexp(a, b) / 2,
        lambda: gl.hypot(a, b),
    ]
    return ways[number % len(ways)]()


def _unary_move(world: World, pools: Pools, i: int, j: int) -> None:
    pools["v"].append(_unary(world, pick(pools, "v", i), pick(pools, "s", i), j))


def _binary_move(world: World, pools: Pools, i: int, j: int) -> None:
    kind = "v" if i % 2 else "s"
    pools[kind].append(_binary(world, pick(pools, kind, i), pick(pools, kind, j // 2), j))


def _product(world: World, pools: Pools, i: int, j: int) -> None:
    v = pick(pools, "v", i)
    w = world.w if j % 2 else world.w * pick(pools, "s", j)
    pools["v"].append(w @ v if j % 3 else gl.tanh(v @ w.T))


def _reduced(world: World, pools: Pools, i: int, j: int) -> None:
    a, b = pick(pools, "v", i), pick(pools, "v", j)
    function: Any = [gl.max, gl.mean, gl.sum, gl.min][j % 4]
    pools["s"].append(function(a) if j % 2 else gl.tanh(gl.sum(a * b)))


def _gathered(world: World, pools: Pools, i: int, j: int) -> None:
    n = pick(pools, "n", i)
    pools["s"].append(pick(pools, "v", j)[n % SIZE])
    pools["v"].append(world.table[(n + j) % 4])


def _set(world: World, pools: Pools, i: int, j: int) -> None:
    place: Any = pick(pools, "v", i).at[pick(pools, "n", i) % SIZE]
    s = pick(pools, "s", j)
    pools["v"].append(place.set(s) if j % 2 else place.add(s))


def _counted(world: World, pools: Pools, i: int, j: int) -> None:
    n = pick(pools, "n", i)
    pools["n"].append((n * 3 + j) % 7)
    pools["n"].append(n + gl.astype(pick(pools, "b", j), "int64"))


def _compared(world: World, pools: Pools, i: int, j: int) -> None:
    flag = pick(pools, "s", i) > 0.1 if j % 2 else pick(pools, "n", i) > 2
    pools["b"].append(flag & ~pick(pools, "b", j) if j % 3 else flag)
    pools["s"].append(gl.where(flag, pick(pools, "s", j), 0.25))


def _drawn(world: World, pools: Pools, i: int, j: int) -> None:
    key = gl.random.fold_in(gl.random.key(7 + j), pick(pools, "n", i))
    noise = gl.random.uniform(key, (SIZE,), dtype="float64")
    pools["v"].append(pick(pools, "v", i) * noise)


def _narrow(world: World, pools: Pools, i: int, j: int) -> None:
    h, v = pick(pools, "h", i), pick(pools, "v", j)
    pools["h"].append(gl.tanh(h + gl.astype(v, "float32")))
    pools["v"].append((v + gl.astype(h, "float64")) / 2)


MOVES: dict[str, Callable[[World, Pools, int, int], None]] = {
    "unary": _unary_move,
    "binary": _binary_move,
    "product": _product,
    "reduced": _reduced,
    "gathered": _gathered,
    "set": _set,
    "counted": _counted,
    "compared": _compared,
    "drawn": _drawn,
    "narrow": _narrow,
}


# --- loops ---------------------------------------------------------------------------------------


def build(loop: Loop, world: World, way: Any) -> list[Tensor]:
    """The last carries and the stacked rows of the outermost loop, made by `way`."""
    finals, rows = _run(loop, world, way, world.pools, world.init, world.xs)
    return [*finals, *rows]


def _play(moves: Sequence[Move], world: World, way: Any, pools: Pools) -> Pools:
    """What there is after the moves, and before."""
    pools = {kind: list(pool) for kind, pool in pools.items()}
    for move in moves:
        if move.inner is None:
            MOVES[move.name](world, pools, *move.picks)
            continue
        loop, number = move.inner, move.picks[0]
        init = [pick(pools, kind, number + i) for i, kind in enumerate(loop.carries)]
        xs = [_multiples(pick(pools, kind, number), loop.length) for kind in loop.entries]
        finals, rows = _run(loop, world, way, pools, init, xs)
        stacks = loop.form not in BRANCHES
        made = [*finals, *map(_folded, rows)] if stacks else [*finals, *rows]
        pools = _with(pools, (*loop.carries, *loop.rows), made)
    return pools


def _run(
    loop: Loop, world: World, way: Any, pools: Pools, init: list[Tensor], xs: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """One loop, captured tensors in `pools`."""
    n, first = len(loop.carries), pools["s"][0]
    carries, entries = _tree(init, loop.structure), _tree(xs, loop.structure + 1)

    def ends(moves: Sequence[Move], inside: Pools, before: Sequence[Tensor]) -> list[Tensor]:
        after = _play(moves, world, way, inside)
        kinds = (*loop.carries, *loop.rows)
        made = [pick(after, k, number) for k, (number, _) in zip(kinds, loop.ends, strict=True)]
        for i, (_, how) in enumerate(loop.ends):
            made[i] = _bounded(made[i], how, before[i] if i < n else None)
        return made

    def body(carry: Any, entry: Any) -> tuple[Any, Any]:
        before = leaves_of(carry)
        inside = _with(_with(pools, loop.carries, before), loop.entries, leaves_of(entry))
        made = ends(loop.moves, inside, before)
        rows = _tree(made[n:], loop.structure) if loop.rows else None
        return _tree(made[:n], loop.structure), rows

    def is_high(carry: Any) -> Tensor:
        return _is_high(leaves_of(carry)[0], first)

    def step(state: Any) -> Any:
        carry, count = state
        inside = _with(_with(pools, loop.carries, leaves_of(carry)), ("n",), [count])
        return _tree(ends(loop.moves, inside, leaves_of(carry)), loop.structure), count + 1

    def goes_on(state: Any) -> Tensor:
        return (state[1] < loop.length) & ~is_high(state[0])

    def branch(moves: Sequence[Move]) -> Callable[..., Any]:
        return lambda x: _tree(ends(moves, _with(pools, ("v",), [x]), []), loop.structure)

    x, branches = pick(pools, "v", loop.length), [branch(m) for m in (loop.moves, *loop.others)]
    match loop.form:
        case "while":
            found = way.repeat(goes_on, step, (carries, gl.constant(0, "int64")), loop.length)
            return leaves_of(found[0]), []
        case "cond":
            return [], leaves_of(way.cond(pick(pools, "b", loop.length), *branches, x))
        case "switch":
            return [], leaves_of(way.switch(pick(pools, "n", loop.length) - 1, branches, x))
        case "map" | "vmap":
            over = way.map if loop.form == "map" else way.vmap
            return [], leaves_of(over(lambda entry: body((), entry)[1], entries))
        case "checkpoint":
            return [], leaves_of(way.checkpoint(branches[0])(x))
        case _:
            more: dict[str, Any] = {}
            if loop.form in ("until", "both"):
                more["until"] = is_high
            if loop.form in ("lengths", "both"):
                more["lengths"] = world.lengths % (loop.length + 1)
            if loop.form == "segments":
                more["checkpoint"] = SEGMENTS[loop.structure]
            given = entries if xs else None
            found = way.scan(body, carries, given, loop.length, loop.reverse, **more)
            return leaves_of(found[0]), leaves_of(found[1])


def _bounded(x: Tensor, how: int, old: Tensor | None) -> Tensor:
    """As it is, squashed, or half way to it from what was."""
    if how == 0 or x.dtype == dt.bool_:
        return x
    if x.dtype == dt.int64:
        return x % 7
    return gl.tanh(x) if how == 1 or old is None else (x + old) / 2


def _is_high(x: Tensor, first: Tensor) -> Tensor:
    """What stops a loop."""
    if x.dtype == dt.bool_:
        return x
    if x.dtype == dt.int64:
        return x > 4
    return gl.sum(gl.astype(x, "float64")) > first + 0.8


def _multiples(x: Tensor, length: int) -> Tensor:
    """A sequence of them."""
    steps = gl.reshape(gl.arange(length), (length, *[1] * x.ndim))
    if x.dtype == dt.bool_:
        return x & (steps > 0)
    scaled = x * gl.astype(steps, x.dtype)
    return scaled if x.dtype == dt.int64 else scaled / MOST


def _folded(rows: Tensor) -> Tensor:
    """Rows as one of their kind."""
    if rows.dtype == dt.bool_:
        return gl.any(rows, axis=0)
    total = gl.sum(rows, axis=0)
    return total if rows.dtype == dt.int64 else total / MOST


def _with(pools: Pools, kinds: Sequence[str], tensors: Sequence[Tensor]) -> Pools:
    pools = {kind: list(pool) for kind, pool in pools.items()}
    for kind, tensor in zip(kinds, tensors, strict=True):
        pools[kind].append(tensor)
    return pools


def _tree(leaves: Sequence[Tensor], structure: int) -> Any:
    """A tuple of them, a dict, or a list in a tuple; one alone."""
    match structure % 3:
        case 0:
            return leaves[0] if len(leaves) == 1 else tuple(leaves)
        case 1:
            return {f"key{i}": leaf for i, leaf in enumerate(leaves)}
        case _:
            return (list(leaves), ())
