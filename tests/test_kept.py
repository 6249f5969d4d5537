# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportPrivateUsage=false
"""Programs that are kept on disk: what finds them again, what does not, and what they then tell."""

from __future__ import annotations

import gc
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.frontends import kept
from gradloom.ir.program import Program
from gradloom.runtime import cache

from .graphs import feeds_of, graph_of_seed
from .processes import finish, run, start

PASSES = "gradloom.compiler.pipeline"


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache; where it keeps its entries."""
    monkeypatch.setattr(cache, "_default", cache.DiskCache(tmp_path))
    return tmp_path / "objects"


def was_kept(function: gl.Function) -> bool:
    """Whether no pass ran to make it."""
    return "fuse" not in function.compile_times


def model(factor: float = 2.0, dtype: Any = "float32", axis: int = 1, **options: Any) -> Any:
    x = gl.placeholder(("B", 4), dtype, "x")
    w = gl.parameter(np.full((4, 4), 0.5, dtype), "w")
    y = gl.sum(gl.tanh(x @ w * factor), axis=axis)
    return gl.function([x], y, {w: w - gl.grad(gl.sum(y), w)}, **options), w


def entries(disk: Path, kind: str) -> list[Path]:
    return sorted(disk.glob(f"{kind}-*"))


def test_a_second_process_runs_no_pass_and_gives_the_same_bits(tmp_path: Path) -> None:
    code = """
        import sys, numpy as np, gradloom as gl
        x = gl.placeholder(("B", 8), name="x")
        w = gl.parameter(np.linspace(-1, 1, 64, dtype="float32").reshape(8, 8), name="w")
        loss = gl.mean(gl.softmax(gl.tanh(x @ w), axis=-1) ** 2)
        step = gl.function([x], loss, {w: w - gl.grad(loss, w)})
        a = np.sin(np.arange(40, dtype="float32")).reshape(5, 8)
        print(step(a).tobytes().hex(), w.value.tobytes().hex())
        late = ["gradloom.compiler.pipeline", "gradloom.compiler.fuse", "numba", "networkx",
                "gradloom.runtime.micro_kernel", "hypothesis", "scipy", "ml_dtypes",
                "numpy.random"]
        print([name for name in late if name in sys.modules])
    """
    first, second = (run(code, GRADLOOM_CACHE_DIR=str(tmp_path)).splitlines() for _ in range(2))
    assert first[0] == second[0]
    assert PASSES in first[1] and second[1] == "[]"


def test_a_derivative_is_evaluated_where_no_compiler_was_imported() -> None:
    code = """
        import sys, numpy as np, gradloom as gl
        x = gl.placeholder((3,), name="x")
        print("gradloom.compiler.differentiate" in sys.modules)
        print(gl.grad(gl.sum(x * x), x).eval({x: np.arange(3, dtype="float32")}))
    """
    assert run(code).splitlines() == ["False", "[0. 2. 4.]"]


def test_two_processes_at_once_keep_one_program(tmp_path: Path) -> None:
    code = """
        import numpy as np, gradloom as gl
        x = gl.placeholder(("B",), name="x")
        print(gl.function([x], gl.sum(gl.exp(x) * 3))(np.arange(4, dtype="float32")))
    """
    processes = [start(code, GRADLOOM_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert len({finish(process) for process in processes}) == 1
    assert len(entries(tmp_path / "objects", "graph")) == 1


def test_what_changes_the_program_changes_the_key() -> None:
    variants: dict[str, Callable[[], gl.Function]] = {
        "plain": lambda: model()[0],
        "a constant": lambda: model(factor=2.5)[0],
        "an attribute": lambda: model(axis=0)[0],
        "a dtype": lambda: model(dtype="float64")[0],
        "fusion": lambda: model(fusion=False)[0],
        "guards": lambda: model(check_numerics=True)[0],
        "a name": lambda: model(name="other")[0],
        "a budget": lambda: model(memory_budget=1 << 20, sizes={"B": 5})[0],
        "another budget": lambda: model(memory_budget=1 << 21, sizes={"B": 5})[0],
        "the budget's sizes": lambda: model(memory_budget=1 << 20, sizes={"B": 6})[0],
    }
    for what, build in variants.items():
        assert not was_kept(build()), what
    for what, build in variants.items():
        assert was_kept(build()), what
    assert was_kept(model(threads=1)[0])  # what runs does not depend on it


def test_large_constants_count_by_their_content() -> None:
    def shifted(values: Any) -> gl.Function:
        x = gl.placeholder((100,), "float32", "x")
        return gl.function([x], x + values)

    values = np.arange(100, dtype=np.float32)
    other = np.where(values == 57, -1, values).astype(np.float32)
    zeros = np.zeros(100, np.float32)
    assert not was_kept(shifted(values)) and not was_kept(shifted(other))
    for array in (values, other):
        again = shifted(array.copy())
        assert was_kept(again)
        np.testing.assert_array_equal(again(zeros), array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_nan_is_a_nan_whatever_its_sign(dtype: Any) -> None:
    """Texts say `nan` of all, so programs of two could not be told apart."""
    x = gl.placeholder((2,), "float32", "x")
    for sign, kept_before in ((1, False), (-1, True)):
        nan = np.array([1, np.copysign(np.nan, sign)]).astype(getattr(gl, dtype).numpy)
        step = gl.function([x], gl.copysign(x, gl.constant(nan).astype("float32")))
        assert was_kept(step) == kept_before
        np.testing.assert_array_equal(step(np.ones(2, np.float32)), [1, 1])


def folded(dtype: str = "float32") -> gl.Function:
    """A function of a large constant that the passes compute, and that no user holds."""
    x = gl.placeholder((60, 60), dtype, "x")
    table = gl.constant(np.arange(3600, dtype=np.float32).reshape(60, 60))
    return gl.function([x], [x, gl.sin(table).astype(dtype)])


def test_constants_of_the_compiler_lie_beside_the_program(disk: Path) -> None:
    x = np.ones((60, 60), np.float32)
    expected = folded()(x)[1]
    (entry,) = entries(disk, "constant")
    assert entry.stat().st_size > 4 * 3600 > entries(disk, "graph")[0].stat().st_size
    again = folded()
    assert was_kept(again)
    np.testing.assert_array_equal(again(x)[1], expected)
    entry.unlink()
    del again
    gc.collect()  # nobody holds the array now
    assert not was_kept(folded())


def test_too_much_of_its_own_is_not_kept(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folded("bfloat16")  # nor what .npy does not know
    assert not was_kept(folded("bfloat16"))
    monkeypatch.setattr(kept, "LARGEST", 4 * 3600 - 1)
    folded()
    assert not was_kept(folded()) and not entries(disk, "graph")


@pytest.mark.parametrize("damage", [b"", b"gradloom object 1\nnonsense", None])
def test_a_damaged_file_is_compiled_again(disk: Path, damage: bytes | None) -> None:
    x = np.ones((3, 4), np.float32)
    expected = model()[0](x)
    (entry,) = entries(disk, "graph")
    content = bytearray(entry.read_bytes())
    content[-9] ^= 1  # one bit
    entry.write_bytes(bytes(content) if damage is None else damage)
    again = model()[0]
    assert not was_kept(again) and was_kept(model()[0])
    np.testing.assert_array_equal(again(x), expected)


def test_other_sources_or_versions_are_another_key(tmp_path: Path) -> None:
    for room in ("ir/ops", "compiler", "frontends"):
        (tmp_path / room).mkdir(parents=True)
    files = [
        "ir/ops/sines.py",
        "ir/graph.py",
        "compiler/fuse.py",
        f"frontends/{Path(kept.__file__).name}",
    ]
    for name in files:
        (tmp_path / name).write_text("first = 1\n")
    environment = kept._environment.__wrapped__
    seen = {environment(tmp_path)}
    for name in files:
        (tmp_path / name).write_text("first = 2\n")  # as long, at the same time
        seen.add(environment(tmp_path))
    (tmp_path / "compiler/fuse.py").rename(tmp_path / "compiler/fuses.py")
    seen.add(environment(tmp_path))
    assert len(seen) == len(files) + 2 and "" not in seen
    shutil.rmtree(tmp_path / "ir")
    shutil.rmtree(tmp_path / "compiler")
    assert environment(tmp_path) == ""  # nothing to tell versions by: nothing is kept


def test_without_sources_nothing_is_kept(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_environment", lambda package: "")
    model()
    assert not was_kept(model()[0]) and not entries(disk, "graph")


def test_parameters_are_those_of_the_graph_at_hand() -> None:
    x = np.ones((3, 4), np.float32)
    (first, v), (second, w) = model(), model()
    assert was_kept(second)
    w.value = np.zeros((4, 4), np.float32)
    assert (second(x) == 0).all() and (first(x) != 0).all()
    assert (w.value != v.value).all()


SCRIPT = """
import sys
import numpy as np, gradloom as gl
{top}
x = gl.placeholder(("B",), name="x")
y = gl.placeholder(("C",), name="y")
k = gl.placeholder((), "int64", name="k")
a = gl.placeholder((2, 2), "float64", name="a")
bound = gl.check(x, gl.all(x > 0), "must be positive"){after}
picked = bound[k] * 2
{between}
lower = gl.linalg.cholesky(a)
step = gl.function([x, y, k, a], [picked, lower, x + y])
good = [np.ones(3, "float32"), np.ones(3, "float32"), 0, np.eye(2)]
for position, wrong in ((0, -good[0]), (1, good[1][:2]), (2, 7), (3, -good[3])):
    try:
        step(*good[:position], wrong, *good[position + 1:])
    except gl.GradloomError as error:
        print(type(error).__name__, str(error).replace("\\n", " "))
print("passes ran" if "{passes}" in sys.modules else "found on disk")
"""


def told(path: Path, cache: Path, **parts: str) -> tuple[list[str], list[int]]:
    """What a script prints, numbers of lines left out, and these numbers."""
    parts = {"top": "", "after": "", "between": "", "passes": PASSES, **parts}
    path.write_text(SCRIPT.format(**parts))
    text = run(f"import runpy; runpy.run_path({str(path)!r})", GRADLOOM_CACHE_DIR=str(cache))
    numbers = [int(found) for found in re.findall(r"script\.py:(\d+)", text)]
    return re.sub(r"script\.py:\d+", "script.py:N", text).splitlines(), numbers


def test_errors_name_lines_where_they_stand_now(tmp_path: Path) -> None:
    path, folder = tmp_path / "script.py", tmp_path / "cache"
    first, at = told(path, folder)
    assert first[-1] == "passes ran" and len(first) == 5
    assert "CheckError" in first[0] and "`bound = gl.check(" in first[0]
    assert "ShapeError" in first[1] and "needed at script.py:N: `step = gl." in first[1]
    assert "IndexRangeError" in first[2] and "`picked = bound[k] * 2`" in first[2]
    assert "`lower = gl.linalg.cholesky(a)`" in first[3]
    again, same = told(path, folder)
    assert again == [*first[:4], "found on disk"] and same == at
    moved, lower = told(path, folder, top="\n\n# three lines more\n", after="  # as ever")
    assert moved[-1] == "found on disk"
    assert [line.replace("  # as ever", "") for line in moved[:4]] == first[:4]
    assert lower == [number + 3 for number in at]
    apart, later = told(path, folder, between="\n\n")
    assert apart == again and later != at
    joined, _ = told(path, folder, after="; other = 1")
    assert joined[-1] == "found on disk"


def test_nodes_of_one_line_are_not_those_of_two(disk: Path) -> None:
    def build(one_line: bool) -> gl.Function:
        x = gl.placeholder((3,), "float32", "x")
        if one_line:
            y = gl.exp(gl.sin(x))
        else:
            y = gl.sin(x)
            y = gl.exp(y)
        return gl.function([x], y)

    build(True)
    assert not was_kept(build(False)) and was_kept(build(True))


def test_all_stages_can_be_seen_of_what_was_on_disk() -> None:
    x = np.ones((3, 4), np.float32)
    (fresh, _), (found, _) = model(), model()
    assert was_kept(found) and found(x) is not None and was_kept(found)
    assert found.program == fresh.program and not was_kept(found)
    assert found.stages == fresh.stages and found.kernels == fresh.kernels
    assert [k.source for k in found.kernels] == [k.source for k in fresh.kernels]
    for look in (
        lambda function: function.memory(B=3),
        lambda function: function.report,
        lambda function: function.recomputed,
        lambda function: [(row.name, row.loc) for row in function.profile(x, repeat=1).nodes],
    ):
        found, _ = model()
        assert was_kept(found)
        if "nodes" not in look.__code__.co_names:
            assert str(look(found)) == str(look(fresh))


def test_a_profile_of_what_was_on_disk_names_ops_and_lines() -> None:
    x = np.ones((3, 4), np.float32)
    model()
    found, _ = model()
    assert was_kept(found)
    rows = {row.op: row.loc for row in found.profile(x, repeat=1).nodes}
    assert "tanh" in rows and all(Path(line.file).name == "test_kept.py" for line in rows["tanh"])


def test_guards_of_what_was_on_disk_name_the_op() -> None:
    def build() -> gl.Function:
        x = gl.placeholder((3,), "float32", "x")
        return gl.function([x], gl.where(x > 5, 0, gl.log(x)), check_numerics=True)

    build()
    found = build()
    assert was_kept(found)
    with pytest.raises(gl.NumericsError, match=r"log.*test_kept\.py"):
        found(np.array([1, -1, 2], np.float32))
    np.testing.assert_array_equal(found(np.array([1, 1, 6], np.float32)), [0, 0, 0])


def test_a_program_at_unknown_lines_is_not_kept(disk: Path) -> None:
    function, _ = model()
    place = kept.Kept(function.graph, function.program.target, ("test",))
    check = function.program.checks
    from gradloom.ir.loc import Line
    from gradloom.ir.program import Failure

    strange = replace(
        function.program, checks=(*check, Failure("CheckError", "no", (Line("x.py", 1),)))
    )
    place.keep(strange)
    assert place.find() is None
    place.keep(function.program)
    assert place.find() is not None


def test_what_text_cannot_say_is_not_kept() -> None:
    function, _ = model()
    place = kept.Kept(function.graph, function.program.target, ("test",))
    place.keep(replace(function.program, name="two words"))
    assert place.find() is None


def parts(program: Program) -> list[object]:
    kernels = [kernel.key for kernel in program.kernels]
    checks = [(check.error, check.message, check.loc) for check in program.checks]
    return [kernels, checks, program.buffers, program.steps, program.outputs, program.target]


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(300), marks=pytest.mark.slow)])
def test_random_programs_come_back_as_they_were(seeds: range) -> None:
    for seed in seeds:
        graph = graph_of_seed(seed)
        fresh, found = gl.compile(graph), gl.compile(graph)
        assert was_kept(found)
        program = found._compiled.program
        assert parts(program) == parts(fresh.program), seed
        arrays = feeds_of(graph, seed, 3)
        np.testing.assert_equal(found(**arrays), fresh(**arrays))
