"""Functions: a graph compiled, loaded, and called on NumPy arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from ..ir.bodies import leaked, told_leak
from ..ir.errors import (
    ArgumentError,
    DTypeError,
    GradloomError,
    NumericsError,
    ShapeError,
)
from ..ir.graph import Graph
from ..ir.half import converted, fits
from ..ir.interpret import bind_dims, check_dimensions
from ..ir.kernel import Kernel
from ..ir.loc import current_loc, quote
from ..ir.numerics import first_bad
from ..ir.ops import as_tensor
from ..ir.ops.control import flatten
from ..ir.parameter import Parameter
from ..ir.program import Program
from ..ir.progress import watched
from ..ir.target import Target
from ..ir.tensor import Tensor
from .call_errors import TOLD, call_error
from .compile_times import CompileTimes, loading
from .compiled import Compiled, cpu_target
from .parameter import check_name, parameter

if TYPE_CHECKING:
    from ..compiler.report import Reports
    from .memory import Memory
    from .profile import Profile
    from .recomputed import Recomputed

Outputs = Any  # a tensor, or a list, tuple or dict of them, nested as you like


class Function:
    """A compiled graph.  Call it with arrays, in order or by name; it returns arrays in the
    structure of its outputs, and then has replaced the values of the updated parameters.

    A small result (64 KB) that nobody else refers to any more is used again by a later call, so the
    function refers to it, too: `result.resize` wants `refcheck=False`.

    graph: as built.  stages: the Graph after each pass, by name, in order.  program: the
    Program.  kernels: its kernels, each with `.source`.  report: what was rewritten.  Where the
    program was on disk, the passes that these tell of run when one is asked for.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: Sequence[Parameter],
        build: Any,
        target: str = "cpu",
        fusion: bool = True,
        threads: int | None = None,
        check_numerics: bool = False,
        memory_budget: int | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self.graph = graph
        self._parameters = tuple(parameters)
        self._build = build
        if target == "cuda":
            from ..runtime.cuda import require_gpu

            require_gpu()
        elif target != "cpu":
            raise ArgumentError(f"target must be 'cpu' or 'cuda', got {target!r}")
        if threads is not None and (not isinstance(threads, int) or threads < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"threads must be a number >= 1, got {threads!r}")
        check_dimensions(graph)
        chosen = cpu_target() if target == "cpu" else Target("cuda")
        binding: dict[str, int] = {}
        if memory_budget is not None or sizes:
            from .recomputed import budget_sizes

            binding = budget_sizes(graph, memory_budget, sizes)
        options = fusion, check_numerics, memory_budget, binding
        self._compiled = Compiled(graph, chosen, *options)
        self._threads = threads
        self._loaded: Any = None
        self._last: list[Any] = [None]  # as in an `Executable`
        self._unguarded: Any = None
        self._names = tuple(graph.names[tensor] for tensor in graph.inputs)
        self._dtypes = tuple(tensor.dtype.numpy for tensor in graph.inputs)

    @property
    def stages(self) -> dict[str, Graph]:
        return self._compiled.passes.stages

    @property
    def program(self) -> Program:
        return self._compiled.as_compiled

    @property
    def report(self) -> Reports:
        """The formulas that were rewritten so that they do not overflow, underflow or cancel: by
        which rule, at which lines, for what reason; printable."""
        return self._compiled.passes.report

    def memory(self, *inputs: Any, **named: Any) -> Memory:
        """The bytes that a call takes for temporaries, exactly, and what lives at the peak.

        Say what is called with: sizes by name (``step.memory(B=32)``), or the inputs themselves, in
        order or by name; a function without named sizes needs neither.  The result prints as a
        table of buffers, each with its op and your line.  ArgumentError where a size is missing.
        """
        from .memory import binding_of, memory

        binding = binding_of(self.program, self._names, inputs, named)
        return memory(self.program, self._compiled.passes.origins, binding)

    @property
    def recomputed(self) -> Recomputed:
        """What is computed again so that the temporaries keep to the `memory_budget`; printable."""
        from .recomputed import Recomputed

        return Recomputed.of(self._compiled.passes.budgeted)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return self.program.kernels

    @property
    def _executable(self) -> Any:
        """The loaded program; without a lock that a fork could find taken (cached_property's)."""
        if self._loaded is None:
            loaded = self._load(self._compiled.program)
            if self._compiled.program.target.kind == "cpu":
                _call_natively()
                self._last = loaded.last
            self._loaded = loaded
        return self._loaded

    @property
    def compile_times(self) -> CompileTimes:
        """The seconds that compiling took, pass by pass; printable."""
        return CompileTimes(self._compiled.seconds)

    def _load(self, program: Program) -> Any:
        if program.target.kind == "cuda":
            from ..runtime.cuda import CudaExecutable

            return CudaExecutable(program)
        from ..runtime.executable import Executable

        with watched(f"@{program.name}"), loading(self._compiled.seconds):
            return Executable(program, self._threads)

    def _usual(self, *args: Any, **named: Any) -> Any:
        """A call, whatever the last one was like."""
        arrays = self._arrays(args, named)
        try:
            results = self._executable(arrays, self._parameters)
        except TOLD as error:
            results = self._failed(error, arrays)
        return self._build(results)

    __call__ = _usual  # until native code is there: see `_call_natively`

    def _failed(self, error: GradloomError, arrays: list[np.ndarray[Any, Any]]) -> Any:
        """Raise what a call said; or the results, where it was an alarm for nothing."""
        self._raise(error, arrays)
        if self._unguarded is None:
            self._unguarded = self._load(self._compiled.passes.unguarded())
        return self._unguarded(arrays, self._parameters)

    def profile(self, *args: Any, repeat: int | None = None, **named: Any) -> Profile:
        """Where the time of a call on these inputs goes: prints as a table of steps and of ops.

        repeat: calls that are measured, and whose median is told; else as many as go in half a
        second, at most 100.  They run on copies of the parameters, so nothing changes.  Raises what
        a call would, ArgumentError for `repeat` below 1 or a function for another target.
        """
        from .profile import profiled

        arrays = self._arrays(args, named)
        how = self._compiled.passes.origins, self._threads, arrays, self._parameters, repeat
        try:
            return profiled(self.program, *how)
        except TOLD as error:
            self._raise(error, arrays)
            return profiled(self._compiled.passes.unguarded(), *how)

    def _raise(self, error: GradloomError, arrays: list[np.ndarray[Any, Any]]) -> None:
        """Raise what a call said, with all that the user needs to know.

        A guarded program raises NumericsError with the first nan or infinity, or the check's own
        error where none was made before; else it was an alarm for nothing, and this returns: the
        plain program gives the results.
        """
        told = call_error(self.graph, error, arrays)
        if isinstance(error, ShapeError) or not self._compiled.program.guarded:
            raise told from None
        graph = self._compiled.passes.before_expand
        values = [*arrays, *(parameter.value for parameter in self._parameters)]
        leaves = (*graph.inputs, *graph.parameters)
        types, names = [leaf.type for leaf in leaves], [graph.names[leaf] for leaf in leaves]
        shapes = [value.shape for value in values]
        found = first_bad(graph, values, bind_dims(types, shapes, names, graph.constraints))
        if found is not None:
            raise NumericsError(f"@{self.graph.name}: {found}") from None
        if not isinstance(error, NumericsError):
            raise told from None

    def _arrays(self, args: tuple[Any, ...], named: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
        """What is called with, as arrays in the order of the inputs."""
        if named or len(args) != len(self._names):
            args = self._bind(args, named)
        return [self._convert(position, value) for position, value in enumerate(args)]

    def _bind(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """Positional and named arguments in the order of the inputs."""
        unknown = [name for name in named if name not in self._names]
        if unknown or len(args) > len(self._names):
            what = f"no input {unknown[0]!r}" if unknown else f"{len(args)} arguments given"
            raise ArgumentError(f"@{self.graph.name}: {what}; the inputs are {self._signature()}")
        given = dict(zip(self._names, args, strict=False))
        twice = [name for name in named if name in given]
        missing = [name for name in self._names if name not in given and name not in named]
        if twice or missing:
            what = f"input {twice[0]} given twice" if twice else f"input {missing[0]} is missing"
            raise ArgumentError(f"@{self.graph.name}: {what}; the inputs are {self._signature()}")
        given.update(named)
        return tuple(given[name] for name in self._names)

    def _signature(self) -> str:
        pairs = zip(self._names, self.graph.inputs, strict=True)
        return ", ".join(f"{name}: {tensor.type}" for name, tensor in pairs) or "none"

    def _convert(self, position: int, value: Any) -> np.ndarray[Any, Any]:
        """Any array-like as a C-contiguous array of the input's dtype, or a clear error."""
        wanted = self._dtypes[position]
        if type(value) is ndarray and value.dtype == wanted and value.flags.c_contiguous:
            return value
        tensor, name = self.graph.inputs[position], self._names[position]
        where = f"{name}: {tensor.type}, made at {quote(tensor.node.loc)}"
        if isinstance(value, Tensor):
            raise ArgumentError(f"@{self.graph.name} needs an array for {where}; got a tensor")
        try:
            array = np.asarray(value)
        except ValueError as error:  # nested lists of unequal lengths
            raise ArgumentError(f"@{self.graph.name} needs an array for {where}; {error}") from None
        if array.dtype != wanted and array.dtype.newbyteorder("=") != wanted:
            weak = not isinstance(value, (np.ndarray, np.generic))
            if not (weak and fits(array, tensor.dtype)):
                castable = array.dtype.kind not in "OSU"
                hint = f"; cast it with .astype(gl.{tensor.dtype!r})" if castable else ""
                raise DTypeError(
                    f"@{self.graph.name} got {array.dtype}{list(array.shape)} for {where}{hint}"
                )
        array = converted(array, tensor.dtype)
        if array.ndim != tensor.ndim:
            raise ShapeError(f"@{self.graph.name} got shape {list(array.shape)} for {where}")
        return array if array.flags.c_contiguous else np.array(array, order="C")

    def __repr__(self) -> str:
        return f"<function @{self.graph.name}({self._signature()})>"


@cache
def _call_natively() -> None:
    """From now on a call like the one before is made by native code: of a microsecond Python would
    take most."""
    from ..runtime.team import native_call

    type.__setattr__(Function, "__call__", native_call(Function, "Run on arrays."))


def function(
    inputs: Sequence[Tensor],
    outputs: Outputs = (),
    updates: Mapping[Parameter, Any] | Sequence[tuple[Parameter, Any]] | None = None,
    *,
    name: str = "function",
    target: str = "cpu",
    fusion: bool = True,
    threads: int | None = None,
    check_numerics: bool = False,
    memory_budget: int | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Function:
    """Compile tensors into a callable.

    inputs: placeholders, in the order of the call's arguments.
    outputs: a tensor, or a list, tuple or dict of tensors; the call returns arrays likewise.
    updates: parameter → new value; all read the old values, and are written when nothing can
        fail any more: a call that raises changes none.
    target: ``"cpu"`` or ``"cuda"``.  fusion: False makes one kernel a node (the same bits).
    threads: at most so many (default: the machine's); results do not depend on it.
    check_numerics: a call that makes a nan, or an infinity of finite numbers, or is given a nan,
        raises NumericsError, which names the op, your line, and what the op was given; then no
        parameter has changed.  What a ``where`` does not choose is not looked at, and infinities
        that are given (the mask of an attention) are fine.  The kernels are the same with flags
        added, so results are the same bits.

    memory_budget: bytes that the temporaries of a call may take (`Function.memory` says how many
        they do).  Where they would take more, values are computed again instead of kept, and loops
        keep the carries of fewer steps (`Function.recomputed` says what); results are the same
        bits.  ArgumentError, with the least there is, where that is more.
    sizes: those of the named dimensions that the budget is for, such as ``{"B": 128}``.

    Raises ArgumentError for an unknown input, an input given twice, or an update of what is no
    parameter or has another type.
    """
    here = quote(current_loc())
    if not isinstance(inputs, (list, tuple)):
        raise ArgumentError(
            f"function: inputs are a list of placeholders, got {inputs!r}, at {here}"
        )
    check_name(name)
    tensors = list(inputs)
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or tensor.node.op.name != "input":  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"function: inputs must be placeholders, got {tensor!r}, at {here}")
    names = [tensor.node.attrs["name"] for tensor in tensors]
    for n, count in Counter(names).items():
        if count > 1:
            raise ArgumentError(f"function: two inputs are called {n!r}, at {here}")
    try:
        leaves, build = flatten(outputs)
    except DTypeError as error:
        raise DTypeError(f"function: an output is no tensor: {error}, at {here}") from None
    pairs: list[Any] = list(updates.items() if isinstance(updates, Mapping) else updates or ())
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):  # pyright: ignore
        raise ArgumentError(f"function: updates are a dict of parameter to new value, at {here}")
    changed: list[tuple[Tensor, Tensor]] = []
    updated: set[Tensor] = set()
    for target_, value in pairs:
        if not isinstance(target_, Parameter):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                f"function: updates are of parameters, but {target_!r} is none, at {here}"
            )
        tensor = as_tensor(value)
        if tensor.type != target_.type:
            raise ArgumentError(
                f"function: the update of parameter {target_.name}: {target_.type} is "
                f"{tensor.type}, made at {quote(tensor.node.loc)}"
            )
        if target_ in updated:
            raise ArgumentError(f"function: parameter {target_.name} is updated twice, at {here}")
        updated.add(target_)
        changed.append((target_, tensor))
    graph = Graph(name, tensors, leaves, changed)
    if graph.free:
        leak = leaked(graph.free)
        if leak is not None:
            raise ArgumentError(f"function: {told_leak(leak, graph.results)}, at {here}")
        unknown = graph.free[0]
        raise ArgumentError(
            f"function: {unknown!r}, made at {quote(unknown.node.loc)}, is needed but is not "
            f"among the inputs, at {here}"
        )
    parameters = [p for p in graph.parameters if isinstance(p, Parameter)]
    options = (target, fusion, threads, check_numerics, memory_budget, sizes)
    return Function(graph, parameters, build, *options)


def compile(
    graph: Graph,
    parameters: Mapping[str, Any] | None = None,
    *,
    target: str = "cpu",
    fusion: bool = True,
    threads: int | None = None,
    check_numerics: bool = False,
    memory_budget: int | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Function:
    """The callable of a graph, such as one that was parsed from text.

    parameters: a first value (or a Parameter, to share it) for each of the graph's, by name.
    One output gives one array, several a list.  The rest is as in `function`.
    """
    given = dict(parameters or {})
    own: list[Parameter] = []
    for leaf in graph.parameters:
        name = graph.names[leaf]
        value = given.pop(name, leaf if isinstance(leaf, Parameter) else None)
        if value is None:
            raise ArgumentError(f"compile: no value for parameter {name}: {leaf.type}")
        made = value if isinstance(value, Parameter) else parameter(value, name, leaf.dtype)
        if made.type != leaf.type:
            raise ArgumentError(f"compile: parameter {name} is {leaf.type}, got {made.type}")
        own.append(made)
    if len({id(made) for made in own}) < len(own):
        raise ArgumentError("compile: one Parameter is given for two of the graph's parameters")
    if given:
        raise ArgumentError(f"compile: @{graph.name} has no parameter {next(iter(given))!r}")

    def build(values: list[Any]) -> Any:
        return values[0] if len(graph.outputs) == 1 else values

    options = (target, fusion, threads, check_numerics, memory_budget, sizes)
    return Function(graph, own, build, *options)
