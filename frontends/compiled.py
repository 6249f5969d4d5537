"""What compiling a graph gives: the program that runs, and all that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING

from ..ir.collector import without_collector
from ..ir.graph import Graph
from ..ir.loc import current_loc, located
from ..ir.program import Program
from ..ir.progress import watched
from ..ir.target import Target
from ..runtime import ahead
from ..runtime.native import host
from .kept import Kept

if TYPE_CHECKING:
    from ..compiler.pipeline import Compilation


class Compiled:
    """A graph compiled.  The passes run, and the compiler is imported, where it has to be.

    program: what runs; perhaps from disk, where an earlier process left it.  seconds: what took how
    long.
    """

    def __init__(
        self,
        graph: Graph,
        target: Target,
        fusion: bool,
        guarded: bool,
        budget: int | None,
        sizes: Mapping[str, int],
    ) -> None:
        self.graph, self.target = graph, target
        self._fusion, self._guarded, self._budget, self._sizes = fusion, guarded, budget, sizes
        self._loc = current_loc()
        self._passes: Compilation | None = None
        self.seconds: dict[str, float] = {}
        start = perf_counter()
        kept = Kept(graph, target, (fusion, guarded, budget, sorted(sizes.items())))
        found = kept.find()
        between = perf_counter()
        if found is None and target.kind == "cpu":
            ahead.begin(_products(graph), target.lanes)
        self.program: Program = found or self.as_compiled
        after = perf_counter()
        if found is None:
            kept.keep(self.program)
        self.seconds["disk"] = perf_counter() - after + between - start

    @property
    def passes(self) -> Compilation:
        """Each stage on the way; where the program was on disk, the passes run now."""
        if self._passes is None:
            with watched(f"@{self.graph.name}"), located(self._loc):
                self._passes = self._compile()
            self.seconds.update(self._passes.seconds)
        return self._passes

    @property
    def as_compiled(self) -> Program:
        """The program as the passes made it, which knows what each step computes."""
        made = self.passes.program
        assert made is not None
        return made

    def _compile(self) -> Compilation:
        with without_collector():
            from ..compiler.budget import compile_within
            from ..compiler.pipeline import compile_graph

        def compiled(graph: Graph) -> Compilation:
            with without_collector():
                return compile_graph(graph, self.target, self._fusion, guarded=self._guarded)

        plain = compiled(self.graph)
        if self._budget is None:
            return plain
        return compile_within(self.graph, plain, compiled, self._budget, self._sizes, self._fusion)


def cpu_target() -> Target:
    """What the compiler may know of this machine's processor."""
    return Target("cpu", host().lanes)


def _products(graph: Graph) -> tuple[str, ...]:
    """The products that a graph's program needs at least, by the dtype that they are summed in."""
    matmuls = [node for node in graph.walk() if node.op.name == "matmul"]
    floats = {node.results[0].dtype for node in matmuls if node.results[0].dtype.is_float}
    return tuple(sorted({"f32" if dtype.is_half else str(dtype) for dtype in floats}))
