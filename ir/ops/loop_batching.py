"""Loops over one more axis: the batching rules of ``scan`` and ``while_loop``.

A carry is batched once what enters it is; what no batched value reaches stays as it is, for all
entries.  Where entries end apart, by a condition on what is batched or by a limit for each, the
loop goes on while one of them does, and those that ended keep their carries.  The body still sees
these: where it may fail, or never end, there is a loop over the entries instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..batching import Batch, batched_inputs, batched_values
from ..dims import DimLike
from ..dtypes import int64
from ..graph import Graph
from ..tensor import Node, Tensor, TensorType
from .control import choose, placeholder_like
from .conversion import astype
from .create import arange, zeros
from .reduction import any as any_
from .reduction import max as max_
from .scan import Scan, make_scan
from .shape import broadcast_to, expand_dims, moveaxis
from .while_loop import While, make_while

_COUNT = TensorType(int64, ())


class _Batched:
    """The regions of a loop over inputs of which some carry a leading axis of `size`.

    inputs, batch: of the body.  flags: which of its inputs have the axis, once each carry has it
    whose new value does.  apart: whether entries end apart; all carries have the axis then.
    """

    def __init__(
        self,
        body: Graph,
        proceed: Graph | None,
        counts: tuple[int, int],
        flags: Sequence[bool],
        apart: bool,
        size: DimLike,
    ) -> None:
        self.body, self.proceed, self.size = body, proceed, size
        self.carries, self.sequences = counts
        self.flags, self.apart = list(flags), apart
        n = self.carries
        while True:
            before = [*self.flags, self.apart]
            if self.apart:
                self.flags[:n] = [True] * n
            self.inputs = batched_inputs(body, self.flags, size)
            self.batch: Batch = batched_values(body, self.inputs, self.flags, size)
            for i, output in enumerate(body.outputs[:n]):
                self.flags[i] = self.flags[i] or output in self.batch.carrying
            self.apart = self.apart or self._asks_apart()
            if [*self.flags, self.apart] == before:
                break
        pairs = zip(body.outputs, self.flags[:n], strict=False)
        self.reached = [flag or output in self.batch.carrying for output, flag in pairs]
        self.reached += [output in self.batch.carrying for output in body.outputs[n:]]

    def _asks_apart(self) -> bool:
        if self.proceed is None:
            return False
        inputs = batched_inputs(self.proceed, self._asked_flags, self.size)
        return self.proceed.outputs[0] in self._asked(inputs).carrying

    @property
    def _asked_flags(self) -> list[bool]:
        return [*self.flags[: self.carries], *self.flags[self.carries + self.sequences :]]

    def _asked(self, arguments: Sequence[Tensor]) -> Batch:
        assert self.proceed is not None
        return batched_values(self.proceed, arguments, self._asked_flags, self.size)

    def outputs(self) -> list[Tensor]:
        """What the body gives, with the axis where that is reached."""
        pairs = zip(self.body.outputs, self.reached, strict=True)
        return [self.batch.spread(t) if flag else self.batch.value(t) for t, flag in pairs]

    def goes_on(self, carries: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
        """Whether to take one more step: one bool, or one for each entry if they end apart."""
        assert self.proceed is not None
        batch, (output,) = self._asked([*carries, *constants]), self.proceed.outputs
        return batch.spread(output) if self.apart else batch.value(output)

    def operands(self, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
        """The node's operands, with the axis where the body's inputs have it; sequences behind
        the axis of their steps."""
        actual = list(operands)
        for i in range(self.carries + self.sequences):
            if self.flags[i] and not batched[i]:
                actual[i] = broadcast_to(actual[i], (self.size, *actual[i].shape))
            elif self.flags[i] and i >= self.carries:
                actual[i] = moveaxis(actual[i], 0, 1)
        return actual

    def asking(
        self,
        more: Sequence[TensorType],
        given: Sequence[TensorType],
        goes_on: Callable[..., Tensor],
    ) -> Graph:
        """A region that says whether to take one more step: `goes_on` of carries, with `more`
        behind them, and constants, with `given` behind them."""
        first = self.carries + self.sequences
        carries = [t.type for t in self.inputs[: self.carries]] + list(more)
        constants = [t.type for t in self.inputs[first:]] + list(given)
        own = [placeholder_like(type_, f"carry{i}") for i, type_ in enumerate(carries)]
        fixed = [placeholder_like(type_, f"given{i}") for i, type_ in enumerate(constants)]
        output = goes_on(own, fixed)
        return Graph("proceed", [*own, *fixed], [any_(output) if output.ndim else output])

    def chosen(self, active: Tensor) -> list[Tensor]:
        """What the body gives where entries are active: else old carries, and zeros."""
        outputs, n = self.outputs(), self.carries
        rows = [self.batch.spread(output) for output in self.body.outputs[n:]]
        carries = zip(outputs[:n], self.inputs[:n], strict=True)
        return [
            *(choose(active, after, before) for after, before in carries),
            *(choose(active, row, zeros((), row.dtype)) for row in rows),
        ]


def _size(operands: Sequence[Tensor], batched: Sequence[bool]) -> DimLike:
    return next(t.shape[0] for t, flag in zip(operands, batched, strict=True) if flag)


def may_fail(region: Graph) -> bool:
    """Whether a call may fail in the region, or not come back."""
    return any(
        node.op.check or node.op.kind == "host" or node.op.name == "while_loop"
        for node in region.walk()
    )


def entry_by_entry(node: Node, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """The results of `node` for each entry, by a loop over the entries: none computes what it would
    not compute alone."""
    inputs = [placeholder_like(t.type, f"x{i}") for i, t in enumerate(node.operands)]

    def those(tensors: Sequence[Tensor], flag: bool) -> list[Tensor]:
        return [t for t, own in zip(tensors, batched, strict=True) if own is flag]

    results = node.remake(inputs).results
    body = Graph("entry", [*those(inputs, True), *those(inputs, False)], results, parameters=())
    entries, shared = those(operands, True), those(operands, False)
    return list(make_scan(body, [], entries, shared, _size(operands, batched), False).stacked)


def batch_while(loop: While, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """The results of a while_loop over `operands`; entries that end apart count their steps."""
    n, size = len(loop.carries), _size(operands, batched)
    parts = _Batched(loop.body, loop.proceed, (n, 0), batched, False, size)
    actual, own = parts.operands(operands, batched), parts.inputs
    if not parts.apart:
        body = Graph(loop.body.name, own, parts.outputs())
        proceed = parts.asking([], [], parts.goes_on)
        return [*make_while(proceed, body, actual[:n], actual[n:]).node.results]
    if may_fail(loop.body) or may_fail(loop.proceed):
        return entry_by_entry(loop.node, operands, batched)
    count = placeholder_like(TensorType(int64, (size,)), "count")
    active = parts.goes_on(own[:n], own[n:])
    outputs = [*parts.chosen(active), count + astype(active, int64)]
    body = Graph(loop.body.name, [*own[:n], count, *own[n:]], outputs)

    def goes_on(carries: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
        return parts.goes_on(carries[:n], constants)

    proceed = parts.asking([count.type], [], goes_on)
    made = make_while(proceed, body, [*actual[:n], zeros((size,), int64)], actual[n:])
    return [*made.finals]


def batch_scan(scan: Scan, operands: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """The results of a scan over `operands`."""
    size, n, m = _size(operands, batched), len(scan.carries), len(scan.sequences)
    many = len(scan.flow)
    limited = scan.limit is not None and batched[many]
    flags = batched[:many]
    parts = _Batched(scan.body, scan.proceed, (n, m), flags, limited, size)
    actual, limit = parts.operands(operands[:many], flags), None
    if scan.limit is not None:
        limit = operands[many]
    if parts.apart and any(map(may_fail, scan.node.regions)):
        return entry_by_entry(scan.node, operands, batched)
    if parts.apart:
        return _scan_apart(scan, parts, actual, limit, limited)
    proceed = None if scan.proceed is None else parts.asking([], [], parts.goes_on)
    made = make_scan(
        Graph(scan.body.name, parts.inputs, parts.outputs(), parameters=()),
        actual[:n],
        actual[n : n + m],
        actual[n + m :],
        scan.length,
        scan.reverse,
        proceed,
        limit,
    )
    reached = parts.reached
    behind = zip((*made.stacked, *made.history), (*reached[n:], *reached[:n]), strict=True)
    rows = [moveaxis(y, 1, 0) if flag else y for y, flag in behind]
    return [*made.finals, *rows, *([] if made.steps is None else [made.steps])]


def _scan_apart(
    scan: Scan, parts: _Batched, actual: Sequence[Tensor], limit: Tensor | None, limited: bool
) -> list[Tensor]:
    """A scan whose entries end apart.

    Without a condition there is a limit for each entry, and the number of the step, as one more
    sequence, says which of them take it.  With one the entries count their steps in one more carry;
    they all begin with the first, since a scan with a condition goes forwards.
    """
    size, n, m, own = parts.size, parts.carries, parts.sequences, parts.inputs
    each = [limit] if limit is not None and limited else []
    within = [placeholder_like(t.type, "limits") for t in each]
    steps = arange(scan.length)

    def goes_on(carries: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
        count, rest = carries[n], constants[: len(own) - n - m]
        active = parts.goes_on(carries[:n], rest)
        return active & (count < constants[-1]) if each else active

    carries, sequences, constants = [*own[:n]], [*own[n : n + m]], [*own[n + m :], *within]
    starts, rows = [*actual[:n]], [*actual[n : n + m]]
    proceed = None
    if scan.proceed is not None:
        count = placeholder_like(TensorType(int64, (size,)), "count")
        carries.append(count)
        starts.append(zeros((size,), int64))
        active = goes_on(carries, constants)
        counted = [count + astype(active, int64)]
        proceed = parts.asking([count.type], [t.type for t in within], goes_on)
    else:
        number = placeholder_like(_COUNT, "number")
        sequences.append(number)
        rows.append(steps)
        active, counted = number < within[0], []
        limit = max_(each[0])
    outputs = parts.chosen(active)
    made = make_scan(
        Graph(
            scan.body.name,
            [*carries, *sequences, *constants],
            [*outputs[:n], *counted, *outputs[n:]],
        ),
        starts,
        rows,
        [*actual[n + m :], *each],
        scan.length,
        scan.reverse,
        proceed,
        None if scan.proceed is not None and each else limit,
    )
    ends = made.finals[n] if scan.proceed is not None else each[0]
    taken = expand_dims(steps, 1) < ends  # rows of the history that an entry did not take are 0
    history = [choose(taken, states, zeros((), states.dtype)) for states in made.history[:n]]
    return [
        *made.finals[:n],
        *(moveaxis(y, 1, 0) for y in (*made.stacked, *history)),
        *([ends] if scan.proceed is not None else []),
    ]
