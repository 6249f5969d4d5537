"""CUDA source compiles: to PTX by Numba, to machine code by ptxas, for two generations of GPU.

Kernels of every form by hand, and those of every op of the table.  Needs the packages of the
``cuda`` extra and no GPU.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
import zlib
from pathlib import Path

import pytest

from gradloom.compiler.emit_cuda import emit_cuda
from gradloom.compiler.pipeline import compile_graph
from gradloom.ir import dtypes as dt
from gradloom.ir.launch import layout
from gradloom.ir.op import Op
from gradloom.ir.target import Target
from gradloom.runtime import cuda

from .cuda_kernels import CASES
from .op_cases import OPS, cases, graph_of

if cuda.missing_packages():
    pytest.skip("the packages of the cuda extra are not installed", allow_module_level=True)

PTXAS = Path(sysconfig.get_paths()["purelib"]) / "nvidia" / "cu13" / "bin" / "ptxas"
VARIANTS = (((8, 0), True), ((9, 0), True), ((9, 0), False))
SLOW_ANGLES = {"functions"}  # sine of large angles reduces them with one float64 product

# The most registers that a thread of each layout may use: growth has to be looked at.
REGISTERS = {"threads": 40, "rows": 96, "tiles": 128}


@pytest.mark.parametrize(("cc", "narrow"), VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_compiles(name: str, cc: tuple[int, int], narrow: bool, tmp_path: Path) -> None:
    kernel = CASES[name].kernel
    ptx = cuda.compile_to_ptx(emit_cuda(kernel), kernel, cc, narrow)
    assert f".target sm_{cc[0]}{cc[1]}" in ptx.text
    assert ptx.text.count(".param .u") == len(kernel.arguments) + len(kernel.parameters) + 1
    floats = {a.dtype.short for a in kernel.arguments if a.dtype.is_float}
    if "f64" not in floats and name not in SLOW_ANGLES:
        assert ".reg .f64" not in ptx.text
    for line in ptx.text.splitlines():
        assert not re.match(r"\s*(mul|add|sub)\.f(32|64)\b", line), "free to be contracted"
    if narrow:
        assert not re.search(r"\b(div|rem)\.[us]64\b", ptx.text)
    told = assemble(ptx.text, cc, tmp_path)
    assert re.search(r"\b0 bytes spill stores, 0 bytes spill loads", told), told
    registers = re.search(r"Used (\d+) registers", told)
    assert registers is not None and int(registers[1]) <= REGISTERS[layout(kernel)], told


def assemble(text: str, cc: tuple[int, int], folder: Path) -> str:
    """What ptxas says of the text."""
    if not PTXAS.exists():
        pytest.skip("no ptxas: nvidia-cuda-nvcc is not installed")
    path = folder / "kernel.ptx"
    path.write_text(text)
    command = [PTXAS, "-v", f"-arch=sm_{cc[0]}{cc[1]}", path, "-o", folder / "kernel.cubin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def check_op(op: Op, dtype: dt.DType | None, folder: Path) -> None:
    """The kernels of one case that has elements, at `dtype` or the first that the entry takes."""
    for case in cases(op, dt.ALL if dtype is None else [dtype], (5, 3)):
        if any(0 in shape for shape in case.shapes):
            continue
        program = compile_graph(graph_of(case), Target("cuda")).program
        assert program is not None
        for kernel in program.kernels:
            assemble(cuda.compile_to_ptx(kernel.source, kernel, (9, 0)).text, (9, 0), folder)
        return


@pytest.mark.parametrize(
    "op", [op for op in OPS if zlib.crc32(op.name.encode()) % 8 == 0], ids=lambda op: op.name
)
def test_some_ops_compile(op: Op, tmp_path: Path) -> None:
    check_op(op, dt.float32 if next(cases(op, [dt.float32]), None) else None, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [None, *dt.ALL], ids=str)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_compiles(op: Op, dtype: dt.DType | None, tmp_path: Path) -> None:
    check_op(op, dtype, tmp_path)


def test_second_compilation_comes_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = CASES["scalar"].kernel
    source = emit_cuda(kernel)
    first = cuda.compile_to_ptx(source, kernel, (9, 0))

    def compile_again(*_: object) -> str:
        raise AssertionError("compiled twice")

    monkeypatch.setattr(cuda, "_compile", compile_again)
    assert cuda.compile_to_ptx(source, kernel, (9, 0)) == first


def test_indices_of_a_wide_launch_are_64_bits() -> None:
    kernel = CASES["flat"].kernel
    wide = cuda.compile_to_ptx(emit_cuda(kernel), kernel, (9, 0), narrow=False)
    assert wide.text.count(".param .u64") == len(kernel.arguments) + 2
