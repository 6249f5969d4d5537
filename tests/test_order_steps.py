# pyright: basic
"""Steps in rounds: what depends on each other stays in order, and fewer barriers are left."""

from __future__ import annotations

import itertools
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import gradloom as gl
from gradloom.compiler import pipeline
from gradloom.compiler.order_steps import order_steps
from gradloom.ir.program import Check, Program, Step, reads_and_writes
from gradloom.runtime import cache

from .graphs import graph_of_seed
from .test_barriers import batch, network, waiting


def as_lowered(make):
    """What `make` makes with its steps as `schedule` ordered them; nobody finds it on disk."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(pipeline, "order_steps", lambda program: program)
        patch.setattr(cache, "_default", cache.DiskCache(folder))
        return make()


def touched(step: Step, program: Program) -> tuple[set[str], set[str]]:
    base = {buffer.name: buffer.of or buffer.name for buffer in program.buffers}
    while any(base[name] != name for name in base.values()):
        base = {name: base[of] for name, of in base.items()}
    reads, writes = reads_and_writes(step, program)
    return {base[name] for name in reads}, {base[name] for name in writes}


def assert_in_order(before: Program, after: Program) -> None:
    assert sorted(map(str, before.steps)) == sorted(map(str, after.steps))
    place = {id(step): n for n, step in enumerate(after.steps)}
    given = {buffer.name for buffer in before.of_kind("parameter")}
    for one, two in itertools.combinations(before.steps, 2):
        (reads, writes), (reads_2, writes_2) = touched(one, before), touched(two, before)
        late = isinstance(one, Check) and not writes_2.isdisjoint(given)
        if late or writes & (reads_2 | writes_2) or reads & writes_2:
            assert place[id(one)] < place[id(two)], (one, two)


@pytest.mark.parametrize("momentum", [False, True])
def test_training_steps(momentum: bool) -> None:
    for sizes, fewer in (((12, 40, 5), 1), ((12, 40, 24, 5), 0)):  # deeper, all wait in any order
        lowered = as_lowered(lambda sizes=sizes: network(sizes, momentum)[0])
        ordered = network(sizes, momentum)[0]
        assert_in_order(lowered.program, order_steps(lowered.program))
        before, after = (sum(waiting(each, list(batch(32)))) for each in (lowered, ordered))
        assert before - after >= fewer


@pytest.mark.parametrize("block", range(4))
def test_random_graphs(block: int) -> None:
    for seed in range(20 * block, 20 * block + 20):
        program = as_lowered(lambda seed=seed: gl.compile(graph_of_seed(seed)).program)
        assert_in_order(program, order_steps(program))


def test_what_can_fail_stays_before_the_check() -> None:
    """Even where it reads what only a barrier's round later is there."""
    x, p = gl.placeholder(("B", 8), name="x"), gl.parameter(np.ones(8, "f4"), name="p")
    total = gl.sum(x, axis=0)
    late = gl.check(gl.sum(gl.exp(x * total), axis=0), total > 0, "negative")
    step = gl.function([x], late, updates={p: p * 2.0})
    (place,) = [n for n, item in enumerate(step.program.steps) if isinstance(item, Check)]
    behind = step.program.steps[place + 1 :]
    assert [touched(item, step.program)[1] for item in behind] == [{"p"}]
    with pytest.raises(gl.CheckError, match="negative"):
        step(-np.ones((5, 8), "f4"))
    np.testing.assert_array_equal(p.value, np.ones(8))


def test_large_programs_stay_as_they_are() -> None:
    lowered = as_lowered(lambda: network((12, 400, 2400, 5))[0]).program
    assert order_steps(lowered) is lowered
    many = replace(lowered, steps=lowered.steps * 30)
    assert order_steps(many) is many
