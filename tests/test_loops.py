# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""How loops are lowered: what is copied, what is written over, and that values are right anyway.

All numbers here are small integers, so that every sum is exact and results must be equal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.ir.program import Copy, Launch, Loop, Program, Step, reads_and_writes, walk
from gradloom.ir.tensor import Tensor

from .cuda_device import simulated

Array = np.ndarray[Any, Any]
Body = Callable[[Any, Any], Any]
LENGTHS = (0, 1, 2, 5)


def small(x: Tensor) -> Tensor:
    """Keeps integers small: the remainder by 7."""
    return x - gl.floor(x / 7.0) * 7.0


def whole(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(0, 7, shape).astype(np.float32)


def loops(program: Program) -> list[Loop]:
    return [step for step in walk(program.steps) if isinstance(step, Loop)]


def copies(program: Program) -> list[Step]:
    """Steps inside loops that only copy."""
    found: list[Step] = []
    for loop in loops(program):
        for step in walk(loop.body):
            if isinstance(step, Copy) or (isinstance(step, Launch) and "copy" in step.kernel):
                found.append(step)
    return found


def check(inputs: list[Tensor], outputs: list[Tensor], arrays: list[Array], **options: Any) -> Any:
    """Compiled and interpreted: equal; returns the function."""
    function = gl.function(inputs, outputs, **options)
    wanted = gl.evaluate(function.graph, dict(zip(inputs, arrays, strict=True)))
    wanted = wanted if isinstance(wanted, list) else [wanted]
    for _ in range(2):  # again in the same memory
        for got, expected in zip(function(*arrays), wanted, strict=True):
            np.testing.assert_array_equal(got, expected)
    return function


W = gl.placeholder((3, 3), name="w")
XS = gl.placeholder(("T", 3, 3), name="xs")
H = gl.placeholder((3, 3), name="h")

BODIES: dict[str, tuple[Body, int]] = {
    # body, and how many copies a step may make
    "sum": (lambda c, x: (c + x, None), 0),
    "elementwise": (lambda c, x: (small(c * c + x), None), 0),
    "product": (lambda c, x: (small(c @ W + x), None), 1),  # reads rows while it writes others
    "added product": (lambda c, x: (small(c + x @ W), None), 0),
    "stacked": (lambda c, x: ((y := small(c @ W + x)), y), 0),
    "stacked old": (lambda c, x: (small(c @ W + x), c), 0),
    "stacked both": (lambda c, x: ((y := small(c * c + x)), (c, y, y)), 0),
    "stacked transposed": (lambda c, x: (small(c + x), c.T), 1),
    "stacked reshaped": (lambda c, x: ((y := small(c + x)), gl.reshape(y, (9,))), 1),
    "made reshaped": (lambda c, x: (gl.reshape(small(gl.reshape(c, (9,)) * 2), (3, 3)), x), 1),
    "read later": (lambda c, x: (c + x, small(c.T @ W)), 0),
    "read by a later one": (lambda c, x: (small(c * 2 + x), gl.sum(c, axis=0)), 0),
    "transposed": (lambda c, x: (c.T, x + 1), 2),
    "turned over": (lambda c, x: (c[::-1] + x, None), 1),
    "given x": (lambda c, x: (x, c), 1),
    "given w": (lambda c, x: (W, x + c), 1),
    "constant": (lambda c, x: (gl.zeros((3, 3)) + 2.0, c + x), 1),
    "unchanged": (lambda c, x: (c, c + x), 0),
    "unchanged, stacked": (lambda c, x: (c, c), 0),
    "shifted in": (lambda c, x: (gl.concatenate([c[1:], x[:1]]), None), 3),
    "one row set": (lambda c, x: (c.at[gl.astype(x[0, 0], "int64") % 3].set(x[1]), None), 0),
    "one row set by itself": (lambda c, x: (c.at[0].add(c[1]), x), 1),
    "masks": (lambda c, x: (gl.where(gl.arange(3)[:, None] >= gl.arange(3), c, x), None), 0),
    "what is fixed": (lambda c, x: (W * 2 + 1, c + x), 1),
    "no sequence read": (lambda c, x: (small(c + 1), None), 0),
}


@pytest.mark.campaign(4)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", BODIES)
def test_one_carry(name: str, reverse: bool) -> None:
    """Its last value, what is stacked, and the initial value still there afterwards."""
    body, most = BODIES[name]
    last, ys = gl.scan(body, H, XS, reverse=reverse)
    kept = [y + 1.0 for y in (ys if isinstance(ys, tuple) else [ys]) if y is not None]
    inputs = [W, H, XS]
    rng = np.random.default_rng(0)
    for length in LENGTHS:
        arrays = [whole(rng, 3, 3), whole(rng, 3, 3), whole(rng, length, 3, 3)]
        function = check(inputs, [last + H, *kept], arrays)
        assert len(copies(function.program)) <= most, str(function.program)
        check(inputs, [last, *kept, H * 2], arrays, fusion=False)
        if ys is not None:  # as they are: into the buffers of the outputs
            check(inputs, [last, *(ys if isinstance(ys, tuple) else [ys])], arrays, threads=2)


def test_what_no_step_changes_is_made_before_the_loop() -> None:
    """Masks of positions, which the way back through a split needs, and a transposed weight."""

    def body(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
        a, b, d = gl.split(c @ W + x, 3, axis=1)
        return gl.concatenate([gl.tanh(a), b * a, d], axis=1), None

    last, _ = gl.scan(body, H, XS)
    function = gl.function([W, H, XS], gl.grad(gl.sum(last), H))
    for loop in loops(function.program):
        moving = set(loop.windows)
        for step in walk(loop.body):
            assert isinstance(step, Launch)
            moving.update(reads_and_writes(step, function.program)[1])
        for step in walk(loop.body):
            reads, _ = reads_and_writes(step, function.program)
            assert moving.intersection(reads), step


PAIRS: dict[str, Body] = {
    "swapped": lambda c, x: ((c[1], c[0]), x),
    "swapped and stacked": lambda c, x: ((c[1], c[0]), c[0] + x),
    "swapped views": lambda c, x: ((c[1].T, c[0][::-1]), c[0]),
    "delayed": lambda c, x: ((small(c[0] + x), c[0]), c[1]),
    "twice": lambda c, x: (((y := small(c[0] * c[1] + x)), y), y),
    "twice, old": lambda c, x: ((c[0], c[0]), c[1]),
    "sum and product": lambda c, x: ((small(c[0] + c[1]), small(c[0] * c[1] + x)), None),
    "by each other": lambda c, x: ((small(c[1] @ W), small(c[0] @ W + x)), None),
    "by each other's transpose": lambda c, x: ((small(c[1].T + x), small(c[0].T + c[1])), c[0]),
    "one by the other's new": lambda c, x: (((y := small(c[1] + x)), small(y @ c[0])), None),
    "one unchanged": lambda c, x: ((c[0], small(c[0] @ c[1] + x)), c[1]),
    "one from outside": lambda c, x: ((W, small(c[0] + c[1])), x @ W),
    "a scan": lambda c, x: (
        gl.scan(lambda d, r: ((small(d[0] + r), d[1] + d[0]), None), c, x[:, None] + W)[0],
        None,
    ),
    "a scan of one": lambda c, x: (
        (gl.scan(lambda d, r: (small(d @ W + r), None), c[0], x[:, None] + c[1])[0], c[1] + x),
        c[0],
    ),
}


@pytest.mark.campaign(4)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", PAIRS)
def test_two_carries(name: str, reverse: bool) -> None:
    """Carries that read one another, change places, or are one."""
    one = small(H * 3)
    for init in ((H, H), (H, one), (one, one), (one, small(one + 1))):
        lasts, ys = gl.scan(PAIRS[name], init, XS, reverse=reverse)
        outputs = [*lasts, *([] if ys is None else [ys])]
        rng = np.random.default_rng(1)
        for length in (0, 1, 4):
            arrays = [whole(rng, 3, 3), whole(rng, 3, 3), whole(rng, length, 3, 3)]
            check([W, H, XS], outputs, arrays)
            check([W, H, XS], [functools.reduce(gl.add, outputs), one], arrays)


def drawn(rng: np.random.Generator, count: int, w: Tensor) -> Body:
    """A body over `count` carries: operations and results drawn from what there is."""
    choices = rng.integers(0, 1 << 30, 80).tolist()

    def body(carries: Any, x: Tensor) -> Any:
        left = iter(choices)
        pool: list[Tensor] = [*carries, x, w]

        def some() -> Tensor:
            return pool[next(left) % len(pool)]

        for _ in range(6):
            a, b = some(), some()
            match next(left) % 14:
                case 0:
                    made = small(a + b)
                case 1:
                    made = small(a @ b)
                case 2:
                    made = a.T
                case 3:
                    made = a[::-1, ::-1]
                case 4:
                    made = gl.concatenate([a[1:], b[:1]])
                case 5:
                    made = a.at[0].set(b[-1])
                case 6:
                    made = small(gl.sum(a, axis=0) + b)
                case 7:
                    made = gl.reshape(gl.reshape(a, (-1,)), a.shape)
                case 8:
                    made = small(a * b + 1)
                case 9:
                    made = gl.scan(lambda c, _, b=b: (small(c + b), None), a, length=2)[0]
                case 10:
                    rows = gl.scan(lambda c, r: ((d := small(c + r)), (c, d.T)), a, a[:, None] + b)
                    made = small(gl.sum(rows[1][0], axis=0) + rows[1][1][-1])
                case 11:
                    made = gl.cond(gl.sum(a) > gl.sum(b), lambda a=a: a, lambda b=b: small(b @ w))
                case 12:
                    made = gl.while_loop(lambda c: gl.sum(c) < 30.0, lambda c, b=b: c + b + 1.0, a)
                case _:
                    steps = gl.scan(lambda c, _, b=b: ((b, c[0]), c[1]), (a, b), length=3)
                    made = small(steps[0][1] + steps[1][-1])
            pool.append(made)
        return [some() for _ in carries], [some() for _ in range(2)]

    return body


def campaign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, count, reverse = int(rng.choice([1, 3])), int(rng.integers(1, 4)), bool(rng.integers(2))
    w, h = (gl.placeholder((n, n), name=name) for name in "wh")
    xs = gl.placeholder(("T", n, n), name="xs")
    starts = [h, small(h + 1), h.T, w, gl.zeros((n, n))]
    init = [starts[k] for k in rng.integers(0, len(starts), count)]
    until = (lambda c: gl.sum(c[0]) > 20.0) if rng.integers(4) == 0 else None
    last, ys = gl.scan(drawn(rng, count, w), init, xs, reverse=reverse, until=until)
    made = [*last, *ys]
    outputs = [made[k] for k in rng.permutation(len(made))[: rng.integers(1, len(made) + 1)]]
    if rng.integers(2):
        outputs = [small(outputs[0] * 2), *outputs[1:]]
    length = int(rng.choice(LENGTHS))
    arrays = [whole(rng, n, n), whole(rng, n, n), whole(rng, length, n, n)]
    options: dict[str, Any] = {"check_numerics": True} if rng.integers(4) == 0 else {}
    check([w, h, xs], outputs, arrays, fusion=bool(rng.integers(4)), threads=2, **options)


@pytest.mark.campaign(4)
@pytest.mark.parametrize("seed", range(12))
def test_drawn_bodies(seed: int) -> None:
    campaign(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_drawn_bodies(block: int) -> None:
    for seed in range(100 + 50 * block, 150 + 50 * block):
        campaign(seed)


UNTIL: dict[str, tuple[Body, Callable[[Any], Tensor]]] = {
    "sum": (lambda c, x: (c + x, c * 2), lambda c: gl.sum(c) > 60.0),
    "product": (lambda c, x: ((y := small(c @ W + x)), (c, y)), lambda c: gl.sum(c) > 22.0),
    "given": (lambda c, x: (small(c + W), x), lambda c: gl.sum(c * W) > gl.sum(H)),
    "at once": (lambda c, x: (c + 1, c), lambda c: gl.sum(c) > -1.0),
    "never": (lambda c, x: (c + 1, c), lambda c: gl.any(c < 0.0)),
    "transposed": (lambda c, x: (c.T, x), lambda c: c[0, 1] < c[1, 0]),
    "unchanged": (lambda c, x: (c, (c, x)), lambda c: gl.sum(c) > 0.0),
}


@pytest.mark.campaign(3)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", UNTIL)
def test_loops_that_stop(name: str, reverse: bool) -> None:
    """Rows of steps not taken are zeros, also in memory used before."""
    body, until = UNTIL[name]
    last, ys = gl.scan(body, H, XS, reverse=reverse, until=until)
    outputs = [last, *(ys if isinstance(ys, tuple) else [ys])]
    rng = np.random.default_rng(2)
    for length in LENGTHS:
        arrays = [whole(rng, 3, 3), whole(rng, 3, 3), whole(rng, length, 3, 3)]
        check([W, H, XS], outputs, arrays)
        check([W, H, XS], [y * 2.0 for y in outputs], arrays, fusion=False, threads=2)


@pytest.mark.parametrize("most", [0, 1, 20])
def test_a_loop_without_an_end(most: int) -> None:
    """Until its predicate says so; what it reads, of carries and from outside."""
    body = lambda c: (small(c[0] @ W + c[1]), c[0], c[2] + 1)  # noqa: E731
    lasts = gl.while_loop(lambda c: c[2] < most, body, (H, H, gl.constant(0, "int64")))
    turned = gl.while_loop(lambda c: gl.sum(c) < gl.sum(W) * most, lambda c: c + W.T, W)
    rng = np.random.default_rng(3)
    check([W, H], [*lasts, turned, lasts[0] + turned], [whole(rng, 3, 3) + 1, whole(rng, 3, 3)])


def test_the_way_back_through_a_loop_that_stops() -> None:
    """Its gradient, of as many steps as were taken, against the loop over these alone."""
    w, h, xs = (
        gl.placeholder(shape, "float64", name)
        for name, shape in (("w", (3, 3)), ("h", (3,)), ("xs", ("T", 3)))
    )

    def body(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        after = gl.tanh(w @ c + x)
        return after, after * c

    def results(last: Tensor, ys: Tensor) -> list[Tensor]:
        loss = gl.sum(last * last) + gl.sum(gl.sin(ys))
        slopes = gl.grad(loss, [w, h, xs])
        return [loss, *slopes, gl.grad(gl.sum(slopes[0] * slopes[0]), w)]

    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=(6, 3))]
    stopped = gl.function(
        [w, h, xs], results(*gl.scan(body, h, xs, until=lambda c: gl.sum(c * c) < 1.2))
    )
    plain = gl.function([w, h, xs], results(*gl.scan(body, h, xs)))
    state, taken = arrays[1], 0
    while taken < 6 and np.sum(state * state) >= 1.2:
        state, taken = np.tanh(arrays[0] @ state + arrays[2][taken]), taken + 1
    assert 0 < taken < 6
    loss, by_w, by_h, by_xs, second = stopped(*arrays)
    wanted = plain(*arrays[:2], arrays[2][:taken])
    padded = np.concatenate([wanted[3], np.zeros((6 - taken, 3))])
    for got, expected in zip(
        (loss, by_w, by_h, by_xs, second), (*wanted[:3], padded, wanted[4]), strict=True
    ):
        np.testing.assert_allclose(got, expected, 1e-11, 1e-12)


CUDA = ("stacked both", "added product", "one row set", "turned over", "unchanged, stacked")


@pytest.mark.campaign(3)
@pytest.mark.parametrize("name", CUDA)
def test_loops_on_the_simulated_device(name: str) -> None:
    """The same program for CUDA; the simulator reports races between what reads and overwrites."""
    body, rng = BODIES[name][0], np.random.default_rng(6)
    last, ys = gl.scan(body, H, XS, reverse=True)
    stopped, more = gl.scan(body, H, XS, until=lambda c: gl.sum(c) > 33.0)
    rows = [
        y
        for one in (ys, more)
        if one is not None
        for y in (one if isinstance(one, tuple) else [one])
    ]
    function = gl.function([W, H, XS], [last, stopped, *rows])
    device = simulated(function)
    assert gl.parse_program(str(device.program)) == device.program
    for length in (0, 3):
        arrays = [whole(rng, 3, 3), whole(rng, 3, 3), whole(rng, length, 3, 3)]
        for got, expected in zip(device(arrays), function(*arrays), strict=True):
            np.testing.assert_array_equal(got, expected)
