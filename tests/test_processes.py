"""Several processes, forks, and signals."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from gradloom.tests.processes import run, start

SETUP = """
import os, signal, sys, threading, time
import numpy as np, gradloom as gl
n = 400
x = gl.placeholder((n, n), name="x")
w = gl.parameter(np.eye(n, dtype="float32"), name="w")
step = gl.function([x], gl.sum(x @ w), updates={w: w + 1}, threads=2)
ones = np.ones((n, n), "float32")

def long_call(rounds):
    "a function whose native call takes about rounds / 2000 seconds"
    state = gl.parameter(np.zeros((200, 200), "float32"), name="state")
    last, _ = gl.scan(lambda c, _: (c @ c * 0.0 + c + 1.0, None), state, length=rounds)
    return state, gl.function([], None, updates={state: last}, threads=2)
"""


def test_a_forked_child_computes() -> None:
    out = run(
        SETUP
        + """
before = step(ones)
child = os.fork()
if child == 0:
    good = step(ones) == 2 * n * n * n * 0 + n * n * (n + 1)
    again = gl.function([x], gl.sum(x * 3), threads=2)(ones) == 3 * n * n
    os._exit(0 if good and again else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), before == n * n)
print(step(ones) == n * n * (n + 1))
import multiprocessing
def double(seed):
    return float(gl.function([x], gl.sum(x * 2), threads=2)(ones * seed))
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(double, range(4)) == [2 * n * n * seed for seed in range(4)] and "mapped")
"""
    )
    assert out.split() == ["0", "True", "True", "mapped"]


def test_a_fork_while_other_threads_are_inside_calls() -> None:
    out = run(
        SETUP
        + """
def work():
    while not done:
        step(ones)
step(ones)
done = False
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
codes = []
for _ in range(12):
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        w.value = np.zeros((n, n))
        os._exit(0 if step(ones) == 0 else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done = True
for thread in threads: thread.join()
print(codes == [0] * 12, codes)
"""
    )
    assert out.startswith("True"), out


def test_the_number_of_threads_from_outside() -> None:
    code = """
        import numpy as np, gradloom as gl
        x = gl.placeholder(("B", 70), name="x")
        f = gl.function([x], [gl.sum(x), gl.sum(gl.exp(x), axis=0), x.T @ x])
        rows = np.random.default_rng(0).random((3000, 70), np.float32)
        print([np.asarray(r).tobytes().hex()[:4000] for r in f(rows)])
        """
    outputs = {run(code, GRADLOOM_THREADS=value) for value in ("1", "2", "", None)}
    assert len(outputs) == 1, "the same bits for any number of threads"
    for bad in ("0", "many"):
        process = start(code, GRADLOOM_THREADS=bad)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert f"GRADLOOM_THREADS must be a number of threads >= 1, not '{bad}'" in err


def test_an_interrupt_during_a_long_call() -> None:
    out = run(
        SETUP
        + """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
state, call = long_call(2000)
call()
for delay in (0.0, 0.01, 0.05, 0.2):
    before = state.value[0, 0]
    try:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
        call()
        time.sleep(1)
        print("no interrupt")
    except KeyboardInterrupt:
        pass
    moved = state.value - before
    print(moved.min() == moved.max() and moved[0, 0] in (0, 2000))
before = state.value[0, 0]
call()
print((state.value == before + 2000).all())
"""
    )
    assert out.split() == ["True"] * 5, out


def test_the_process_ends_while_threads_are_inside_calls() -> None:
    for daemon in (True, False):
        started = time.monotonic()
        out = run(
            SETUP
            + f"""
state, call = long_call(3000)
call()
threads = [threading.Thread(target=call, daemon={daemon}) for _ in range(3)]
for thread in threads: thread.start()
time.sleep(0.05)
print("end")
"""
        )
        assert out.split() == ["end"]
        assert time.monotonic() - started < 50


NETWORK = """
import multiprocessing, os, signal, sys, threading, time
import numpy as np, gradloom as gl

class Network:
    "tanh layers of 64, trained on rows drawn by a seed; large enough for two threads"
    def __init__(self):
        x, t = gl.placeholder(("B", 64), name="x"), gl.placeholder(("B", 64), name="t")
        rng = np.random.default_rng(1)
        draw = lambda *shape: rng.standard_normal(shape).astype("float32") / 8
        self.ws = [gl.parameter(draw(64, 64), name=f"w{k}") for k in range(3)]
        y = x
        for w in self.ws: y = gl.tanh(y @ w)
        loss = gl.mean((y - t) ** 2)
        updates = {w: w - 0.1 * gl.grad(loss, w) for w in self.ws}
        self.step = gl.function([x, t], loss, updates=updates, threads=2)
        self.rows = [draw(256, 64), draw(256, 64)]
    def steps(self, count):
        losses = [self.step(*self.rows) for _ in range(count)]
        return b"".join(np.asarray(a).tobytes() for a in (*losses, *(w.value for w in self.ws)))
"""


def test_a_child_goes_on_with_the_same_bits_and_ends_by_itself() -> None:
    """Forked while the worker spins and while it sleeps; the child ends as any process does."""
    out = run(
        NETWORK
        + """
import hashlib
network = Network()
for pause in (0, 0.1):
    network.steps(20)
    time.sleep(pause)
    child = os.fork()
    os.write(1, hashlib.sha256(network.steps(30)).hexdigest().encode() + b" ")
    if child == 0:
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    )
    words = out.split()
    codes, digests = words.count("7"), [word for word in words if word != "7"]
    assert codes == 2 and len(digests) == 4 and len(set(digests)) == 2, out


def test_processes_of_multiprocessing_agree(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    main = """
def work(queue):
    queue.put(Network().steps(5))

if __name__ == "__main__":
    expected = Network().steps(5)
    for how in ("fork", "spawn"):
        context = multiprocessing.get_context(how)
        queue = context.Queue()
        number = 2 if how == "fork" else 1
        processes = [context.Process(target=work, args=(queue,)) for _ in range(number)]
        for process in processes: process.start()
        print(how, all(queue.get(timeout=40) == expected for _ in processes))
        for process in processes: process.join()
        print([process.exitcode for process in processes] == [0] * number)
"""
    script.write_text(NETWORK + main)
    out = run(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert out.split() == ["fork", "True", "True", "spawn", "True", "True"], out


def test_two_threads_on_one_core_beside_others() -> None:
    """Where the one waited for cannot run: it ends, soon, with the same bits."""
    out = run(
        NETWORK
        + """
free = Network().steps(100)
core = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, {core})  # threads that are there already stay where they may be
import subprocess
others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
try:
    print(Network().steps(100) == free)
    for thread in os.listdir("/proc/self/task"): os.sched_setaffinity(int(thread), {core})
    print(Network().steps(100) == free)
finally:
    for other in others: other.kill()
"""
    )
    assert out.split() == ["True", "True"]


def test_interrupts_between_short_calls() -> None:
    """Ctrl-C wherever it strikes: parameters agree with each other, and the next call works."""
    out = run(
        """
import os, random, signal, threading, time
import numpy as np, gradloom as gl
signal.signal(signal.SIGINT, signal.default_int_handler)
ws = [gl.parameter(np.zeros(300, "float32"), name=f"w{k}") for k in range(5)]
x = gl.placeholder((), name="x")
step = gl.function([x], gl.sum(ws[0]), updates={w: w + x for w in ws}, threads=2)
step(0)
rng, struck, ended = random.Random(0), 0, False
def strike():
    while not ended:
        time.sleep(rng.uniform(1e-4, 3e-3))
        os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=strike)
until = time.monotonic() + 1
while time.monotonic() < until:
    try:
        if not thread.ident: thread.start()
        for _ in range(1000): step(1)
    except KeyboardInterrupt:
        struck += 1
while True:
    try:
        ended = True
        thread.join()
        time.sleep(0.1)
        break
    except KeyboardInterrupt:
        pass
values = [w.value for w in ws]
before = float(values[0][0])
print(all((value == before).all() for value in values), struck > 20)
print(step(0) == 300 * before, step(1) == 300 * before, ws[4].value[0] == before + 1)
"""
    )
    assert out.split() == ["True"] * 5, out


def test_interrupts_in_steps_of_the_host() -> None:
    """Also one that strikes while another is put down: no result is made of what was not computed,
    and nothing is lost but the call."""
    out = run(
        """
import signal, sys, time
import numpy as np, gradloom as gl
sys.unraisablehook = [].append  # takes what a handler raises where nobody can catch it
x = gl.placeholder(("N",), name="x")
count = gl.parameter(np.int64(0), "count")
f = gl.function([x], [gl.argsort(x + i) for i in range(8)], {count: count + 1})
a = np.random.default_rng(0).random(40, "float32")
wanted, wrong, struck, called, inside = f(a), 0, 0, 1, False
def strike(*_):
    if inside: raise KeyboardInterrupt
signal.signal(signal.SIGALRM, strike)
signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
until = time.monotonic() + 1
while time.monotonic() < until:
    try:
        inside = True
        for _ in range(50):
            found = f(a)
            called += 1
            wrong += any((one != other).any() for one, other in zip(found, wanted))
        inside = False
    except KeyboardInterrupt:
        inside = False
        struck += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(wrong, struck > 20, called <= count.value <= called + struck)
"""
    )
    assert out.split() == ["0", "True", "True"], out


def test_interruptions_of_the_first_compile(tmp_path: Path) -> None:
    """Numba is imported meanwhile, and Python does not mend what is left half imported."""
    out = run(
        SETUP
        + """
def strike(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, strike)
struck = 0
for attempt in range(200):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02 + 0.01 * attempt)
        found = step(ones)
        signal.setitimer(signal.ITIMER_REAL, 0)
        break
    except KeyboardInterrupt:
        struck += 1
late = w.value[0, 0] - 2  # one may have struck when all was done
print(struck > 3, late in (0, 1), found == n * n + late * n * n * n)
""",
        GRADLOOM_CACHE_DIR=str(tmp_path),
    )
    assert out.split() == ["True", "True", "True"], out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the C library by name")
def test_a_loop_that_outlives_python() -> None:
    """Its thread is not known to Python any more, which it asks each second whether to go on."""
    out = run(
        SETUP
        + """
import ctypes
libc = ctypes.CDLL(None)
libc.__cxa_atexit(ctypes.cast(libc.sleep, ctypes.c_void_p), ctypes.c_void_p(3), None)
state, call = long_call(10_000_000)
threading.Thread(target=call, daemon=True).start()
time.sleep(1.5)
print("end")
"""
    )
    assert out.strip() == "end"


def test_a_thread_compiles_after_the_main_thread_has_ended(tmp_path: Path) -> None:
    out = run(
        """
import threading, time
import numpy as np, gradloom as gl
x = gl.placeholder(("B", 8))
w = gl.parameter(np.ones((8, 3), "float32"))
def work():
    threading.main_thread().join()
    time.sleep(0.2)
    print(gl.function([x], gl.sum(x @ w))(np.ones((2, 8), "float32")))
threading.Thread(target=work).start()
""",
        GRADLOOM_CACHE_DIR=str(tmp_path),
    )
    assert out.strip() == "48.0"


def test_forks_beside_a_compile_of_numbas_own(tmp_path: Path) -> None:
    out = run(
        """
import os, signal, threading, time
import numba, numpy as np, gradloom as gl
x = gl.placeholder(("B", 8), name="x")
done = False
def theirs():
    n = 0
    while not done:
        exec(f"def f(a): return a + {n}", names := {})
        numba.njit(names["f"])(1.0)
        n += 1
thread = threading.Thread(target=theirs)
thread.start()
codes = []
for n in range(4):
    time.sleep(0.1)
    child = os.fork()
    if child == 0:
        signal.alarm(25)
        made = gl.function([x], gl.sum(gl.tanh(x * (n + 3.0))))
        os._exit(int(made(np.zeros((2, 8), "float32")) != 0))
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if codes[-1]:
        break
done = True
thread.join()
print(codes)
""",
        GRADLOOM_CACHE_DIR=str(tmp_path),
    )
    assert out.strip() == "[0, 0, 0, 0]"
