"""What compiling says while it takes long, and what it took, pass by pass."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir import progress
from gradloom.runtime import cache, loader


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def deep(layers: int = 3, salt: float = 1.0) -> gl.Function:
    x = gl.placeholder(("B", 4), "float32", "x")
    h = x
    for layer in range(layers):
        h = gl.tanh(h @ gl.parameter(np.eye(4, dtype=np.float32), f"w{layer}") * (layer + salt))
    return gl.function([x], gl.grad(gl.sum(gl.exp(h)), x), name="deep")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No kernel is known, in the process or on disk; a line is due at once."""
    monkeypatch.setattr(cache, "_default", cache.DiskCache(tmp_path))
    monkeypatch.setattr(loader, "_addresses", {})
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.delenv("GRADLOOM_PROGRESS", raising=False)


def said(monkeypatch: pytest.MonkeyPatch, terminal: bool, chosen: str = "") -> str:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    if chosen:
        monkeypatch.setenv("GRADLOOM_PROGRESS", chosen)
    deep()(np.ones((2, 4), np.float32))
    return stream.getvalue()


def test_each_pass_and_kernel_is_told(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(monkeypatch, terminal=False, chosen="1")
    lines = text.splitlines()
    assert all(line.startswith("gradloom: @deep: ") for line in lines)
    told = [line.removeprefix("gradloom: @deep: ") for line in lines]
    assert "differentiate" in told and told.index("verify") < told.index("lower")
    kernels = [line for line in told if line.startswith("compiling kernel ")]
    count = len(kernels)
    assert count >= 2
    assert kernels == [f"compiling kernel {n} of {count}" for n in range(1, count + 1)]


def test_a_terminal_is_left_clean(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(monkeypatch, terminal=True)
    assert "compiling kernel 1 of " in text
    assert "\n" not in text and text.startswith("\r") and text.endswith("\r\x1b[K")


@pytest.mark.parametrize(("terminal", "chosen"), [(False, ""), (True, "0"), (False, "0")])
def test_quiet(fresh: None, monkeypatch: pytest.MonkeyPatch, terminal: bool, chosen: str) -> None:
    assert said(monkeypatch, terminal, chosen) == ""


def test_nothing_is_said_of_what_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 1e9)
    assert said(monkeypatch, terminal=True) == ""
    progress.tell("nobody watches")


def test_a_line_a_second_and_the_outermost_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADLOOM_PROGRESS", "1")
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with progress.watched("@outer"), progress.watched("@inner"):
        for step in range(10):
            progress.tell(f"step {step}")
            now[0] += 0.25
    with progress.watched("@next"):
        progress.tell("too early")
    assert capsys.readouterr().err == ("gradloom: @outer: step 4\ngradloom: @outer: step 8\n")


def test_without_stderr(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADLOOM_PROGRESS", "1")
    monkeypatch.setattr(sys, "stderr", None)
    deep()(np.ones((2, 4), np.float32))


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals")
def test_a_process_with_a_terminal_says_what_it_does(tmp_path: Any) -> None:
    script = (
        "import numpy as np, gradloom as gl\n"
        "from gradloom.ir import progress\n"
        "progress.PATIENCE = 0.0\n"
        "x = gl.placeholder((3,), 'float32', 'x')\n"
        "gl.function([x], gl.exp(x), name='mine')(np.ones(3, np.float32))\n"
    )
    here, there = os.openpty()
    environment = {**os.environ, "GRADLOOM_CACHE_DIR": str(tmp_path)}
    environment.pop("GRADLOOM_PROGRESS", None)
    command = [sys.executable, "-c", script]
    subprocess.run(command, stderr=there, env=environment, check=True, timeout=55)
    os.close(there)
    text = os.read(here, 1 << 16).decode()
    os.close(here)
    assert "gradloom: @mine: compiling kernel 1 of 1" in text and text.endswith("\x1b[K")


def test_compile_times_are_those_of_the_passes(fresh: None) -> None:
    function = deep(salt=1.5)
    times = function.compile_times
    assert set(times) == {*function.stages, "verify", "lower", "generate", "disk"}
    assert min(times.values()) >= 0 and times["differentiate"] > 0 and times["lower"] > 0
    assert times.total == pytest.approx(sum(times.values()))
    function(np.ones((2, 4), np.float32))
    loaded = function.compile_times
    parts = {"kernels: front end", "kernels: LLVM"}
    assert set(loaded) - set(times) == {"load", *parts}
    assert loaded["load"] >= loaded["kernels: front end"] > 0 and loaded["kernels: LLVM"] > 0
    assert loaded.total == pytest.approx(times.total + loaded["load"])
    again = deep(salt=1.5)
    again(np.ones((2, 4), np.float32))
    assert set(again.compile_times) == {"disk", "load", *parts}
    assert again.compile_times["kernels: front end"] == 0 == again.compile_times["kernels: LLVM"]

    rows = str(loaded).splitlines()
    assert rows[0].split() == ["time", "share", "runs", "pass"]
    named = {" ".join(row.split()[4:]): row for row in rows[1:-1]}
    assert named["cse"].split()[3] == str(sum(name.split("-")[0] == "cse" for name in times))
    assert "load" in named and rows[-1].endswith("in all")
    assert repr(loaded).startswith("<compile times: ")


@pytest.mark.parametrize("kind", ["of its own", "closed"])
def test_a_stream_that_is_no_file(fresh: None, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whatever stands for stderr, a compilation does not fail for it."""

    def swallow(*text: str) -> None:
        pass

    stream: Any = SimpleNamespace(write=swallow, flush=swallow)
    if kind == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setenv("GRADLOOM_PROGRESS", "1")
    x = gl.placeholder((3,), name="x")
    assert gl.function([x], x + 1.0)(np.zeros(3, np.float32)).tolist() == [1.0, 1.0, 1.0]
