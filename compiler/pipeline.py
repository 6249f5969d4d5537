"""The passes in order, each with its reason, and the driver that runs, checks and records them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from ..ir.errors import ArgumentError
from ..ir.graph import Graph
from ..ir.program import Program
from ..ir.progress import tell
from ..ir.target import Target
from ..ir.tensor import Node, Tensor
from ..ir.verify import verify
from .alike import alike
from .blocks import blocks
from .contained import contained
from .contract_fma import contract_fma
from .cse import cse
from .dead import dead
from .differentiate import differentiate, has_requests
from .evict import Budgeted
from .expand import expand
from .fold import fold
from .fuse import fuse
from .halos import halos
from .hoist import hoist
from .innermost import innermost
from .isolate import isolate
from .lift import lift
from .lower import generate, lower
from .masks import masks
from .merge import merge
from .order_steps import order_steps
from .pieces import pieces
from .release import release
from .report import Report, Reports, collected
from .residual import residual
from .rules import STABILISE
from .select import select
from .simplify import simplify
from .split import split
from .stabilise import stabilise
from .sums import sums
from .totals import totals
from .turn import turn
from .unroll import unroll
from .widen import widen

Pass = Callable[[Graph], Graph]

PASSES: dict[str, Pass] = {
    "release": release,  # once no derivative is asked for; then the rules see all there is
    "cse": cse,  # the rules compare nodes by identity
    "isolate": isolate,  # rules must not match across what a gradient is asked about
    "stabilise": stabilise,  # before a derivative is taken of an unstable form, and after
    "simplify": simplify,
    "differentiate": differentiate,
    "fold": fold,
    "dead": dead,
    "sums": sums,  # where additions are additions still, and not multiply-adds
    "pieces": pieces,  # while the gradient by a slice is an `embed` still, and not its masks
    "widen": widen,  # before composites are expanded: they are rounded as a whole
    "expand": expand,  # composites have served the rules; kernels are made of formulas
    "merge": merge,  # behind the last rule and every multiply-add: from here on nodes only move
    "alike": alike,
    "residual": residual,
    "hoist": hoist,  # after residual: what is kept needs no product, be it of all steps
    "contained": contained,  # behind cse: what is the same is one tensor
    "totals": totals,  # after hoist: a loop's own products are those that wait for its carries
    "unroll": unroll,  # last of those on loops; nothing is folded behind it, by NumPy's bits
    "select": select,  # after expanding: only then it shows what computes the row
    "turn": turn,  # before contract_fma: a gradient that lies as its parameter may be added to it
    "contract_fma": contract_fma,  # before fusion, so that fusion changes no bit
    "lift": lift,  # reshapes stand at memory, not inside what one kernel computes
    "innermost": innermost,  # before fusion as well: it chooses an order of additions
    "halos": halos,  # what else is padded is a mask behind it
    "blocks": blocks,  # as lift: what changes the index space stands at memory
    "split": split,  # before fusion, for the same reason
    "masks": masks,  # behind all that makes or moves them; what they are made of is dead then
    "fuse": fuse,
}

# Passes that report what they do.
REPORTING = {
    "stabilise": stabilise,
    "simplify": simplify,
    "sums": sums,
    "pieces": pieces,
    "merge": merge,
    "alike": alike,
    "residual": residual,
    "hoist": hoist,
    "totals": totals,
    "unroll": unroll,
}

BEFORE: tuple[str, ...] = ("release", "cse", "fold", "isolate", "stabilise", "simplify")
ROUND: tuple[str, ...] = ("differentiate", "release", "cse", "stabilise", "simplify")
AFTER: tuple[str, ...] = (
    *("fold", "cse", "dead", "sums", "pieces", "widen", "expand", "simplify", "cse"),
    *("turn", "contract_fma", "fold", "merge", "alike", "cse", "residual", "hoist", "cse", "alike"),
    *("cse", "contained", "totals", "dead", "innermost", "unroll", "select", "halos"),
    *("blocks", "lift", "split", "cse"),
    *("masks", "fuse"),
)

ORDER: tuple[tuple[str, str, str], ...] = (
    ("release", "cse", "what custom functions compute may stand elsewhere as well"),
    ("release", "stabilise", "no rule matches across a pin or the border of a custom function"),
    ("release", "widen", "the ops of a custom function are rounded like all others"),
    ("release", "fuse", "a custom function joins the kernels of its neighbours"),
    ("cse", "stabilise", "a formula in which x occurs twice matches one x"),
    ("fold", "stabilise", "rules know the number that sqrt(2) is"),
    ("isolate", "stabilise", "afterwards the pinned node may be gone"),
    ("stabilise", "differentiate", "the derivative of log(softmax(x)) divides by what underflows"),
    ("differentiate", "expand", "composites know their derivatives"),
    ("differentiate", "widen", "the ops of a derivative are rounded like all others"),
    ("widen", "expand", "a softmax of halves is rounded once, not at each step"),
    ("widen", "contract_fma", "between two ops on halves there is a rounding"),
    ("expand", "contract_fma", "formulas bring products and sums with them"),
    ("turn", "contract_fma", "a gradient that lies as its parameter may be added to it"),
    ("contract_fma", "fuse", "fusion must change no bit"),
    ("expand", "select", "softmax is no kernel op, its formula is"),
    ("simplify", "select", "simplify makes gathers of what select makes maxima"),
    ("sums", "widen", "between the additions of a sum of halves there then are casts"),
    ("differentiate", "pieces", "what is read in slices has a gradient in pieces"),
    ("pieces", "widen", "between the additions of a sum of halves there then are casts"),
    ("pieces", "expand", "then pieces are masks"),
    ("contract_fma", "merge", "in a loop or before it, a product and a sum are one op or are not"),
    ("contract_fma", "residual", "what is stored has the bits of what would be computed again"),
    ("contract_fma", "hoist", "a product that left the loop would be rounded on its own"),
    ("alike", "residual", "one loop of values, be they for a gradient or a tangent, keeps them"),
    ("residual", "hoist", "what is kept needs no product, be it one for all steps"),
    ("hoist", "unroll", "a step without its product may be small"),
    ("contract_fma", "totals", "a sum of products is one chain of multiply-adds, in a loop or not"),
    ("contained", "totals", "parts of one concat are kept as one"),
    ("alike", "totals", "a carry that is there twice is kept but once"),
    ("residual", "totals", "the way back is found by its histories, before it goes forwards"),
    ("totals", "unroll", "a step without its sums may be small"),
    ("unroll", "fuse", "the steps of a loop that is written out share kernels"),
    ("split", "fuse", "fusion must change no bit"),
    ("expand", "masks", "padding and windows have become masks"),
    ("masks", "fuse", "no kernel computes what is known"),
    ("innermost", "fuse", "fusion must change no bit"),
    ("innermost", "unroll", "a step written out has the bits of a step of a loop"),
    ("expand", "blocks", "how a pool's gradient is put back is a formula"),
    ("blocks", "lift", "behind it there are new reshapes"),
    ("blocks", "fuse", "a pool joins the kernel of what it reads"),
    ("expand", "halos", "convolutions have become products"),
    ("halos", "masks", "padding is a mask"),
    ("halos", "fuse", "who reads patches is a product still"),
    ("expand", "innermost", "a product shows how its result lies"),
)


@dataclass
class Compilation:
    """Everything that compiling made: the graph after each pass, and the program."""

    graph: Graph
    stages: dict[str, Graph] = field(default_factory=dict[str, Graph])
    program: Program | None = None
    reports: list[Report] = field(default_factory=list[Report])  # of rewriting, as they came
    origins: dict[str, Tensor] = field(default_factory=dict[str, Tensor])  # of buffers
    order: Sequence[Node] | None = None  # of the last stage's nodes, where it is not `schedule`'s
    budgeted: Budgeted | None = None
    seconds: dict[str, float] = field(default_factory=dict[str, float])  # by stage, and the rest
    sound: set[Node] = field(default_factory=set[Node])  # that the verifier knows

    @property
    def report(self) -> Reports:
        """What was rewritten to stay stable; its `others` are all other rules."""
        stable = self.stages["simplify"]  # the first time: before there are derivatives
        standing = {(node.op.name, node.loc) for node in stable.walk()}
        return collected(self.reports, {rule.formula for rule in STABILISE}, standing)

    @property
    def before_expand(self) -> Graph:
        """The graph with its derivatives in ops that users know: the last before `widen`."""
        return self.stages["dead"]

    def unguarded(self) -> Program:
        """The program without guards."""
        assert self.program is not None
        graph = self.stages["evict" if self.order is not None else "fuse"]
        return generate(lower(graph, self.program.target, order=self.order))

    def run(self, name: str, graph: Graph, check: bool, function: Pass | None = None) -> Graph:
        """Run one pass, verify, record."""
        label, number = name, 2
        while label in self.stages:
            label, number = f"{name}-{number}", number + 1
        with self.timed(label):
            if function is None and name in REPORTING:
                result = REPORTING[name](graph, self.reports)
            else:
                result = (function or PASSES[name])(graph)
        if check and result is not graph:
            same = result.constraints is self.graph.constraints  # under others all is looked at
            with self.timed("verify"):
                verify(result, name, sound=self.sound if same else None)
        self.stages[label] = result
        return result

    @contextmanager
    def timed(self, what: str) -> Generator[None]:
        """Add the seconds that the `with` block takes."""
        tell(what)
        start = perf_counter()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + perf_counter() - start


def compile_graph(
    graph: Graph, target: Target, fusion: bool = True, check: bool = True, guarded: bool = False
) -> Compilation:
    """The program of `graph` for `target`.

    fusion: False gives one kernel a node, the same bits slower.  check: verify after each pass.
    guarded: kernels raise a flag where they make a nan or an infinity (`guard.py`).
    """
    made = Compilation(graph)
    if check:
        with made.timed("verify"):
            verify(graph, sound=made.sound)
    for name in BEFORE:
        graph = made.run(name, graph, check)
    while has_requests(graph):
        for name in ROUND:
            graph = made.run(name, graph, check)
    for name in AFTER[:-1]:
        by_target = _halos(target) if name == "halos" else None
        graph = made.run(name, graph, check, by_target)
    graph = made.run("fuse", graph, check, lambda g: fuse(g, fusion))
    with made.timed("lower"):
        program = lower(graph, target, guarded, origins=made.origins)
        if target.kind == "cpu":
            program = order_steps(program)
    with made.timed("generate"):
        made.program = generate(program)
    return made


def _halos(target: Target) -> Pass:
    return lambda graph: halos(graph, target.kind == "cpu")


def run_pass(graph: Graph, name: str) -> Graph:
    """One pass by its name, verified: what a pass's unit test calls."""
    if name not in PASSES:
        raise ArgumentError(f"no pass {name!r}; have {', '.join(PASSES)}")
    result = PASSES[name](graph)
    verify(result, name)
    return result
