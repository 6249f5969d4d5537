# pyright: basic
"""Kernel text to addresses: what is accepted, what is compiled, and how seldom."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradloom.runtime import cache, driver, loader, native
from gradloom.runtime.cache import reached
from gradloom.runtime.driver import Call, Launch
from gradloom.runtime.whitelist import check_source

from .processes import together

SCALE = """
def scale(buffers, dims, status, tid, nth):
    # the user's line
    a0 = f32_pointer(buffers, 0)
    a1 = f32_pointer(buffers, 1)
    n = dims[0]
    for i in range(n * tid // nth // L * L, n * (tid + 1) // nth, L):
        m = lanes(n - i)
        store(a1, i, load(a0, i, m) * f32(FACTOR) + f32(1.0), m)
""".replace("L)", f"{native.host().lanes})").replace("// L * L", "")


def kernel_text(factor, name="scale"):
    return SCALE.replace("FACTOR", repr(factor)).replace("scale", name)


def run(function, arrays, dims, threads=1):
    table = np.array([function, *(array.ctypes.data for array in arrays)], np.int64)
    numbers, status = np.array(dims, np.int64), np.zeros(2, np.int64)
    program = driver.native_program([Launch(0, 1, 0)])
    call = Call(program, table.ctypes.data, numbers.ctypes.data, status.ctypes.data)
    return call(threads)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has loaded nothing, and an empty disk cache."""
    monkeypatch.setattr(cache, "_default", cache.DiskCache(tmp_path))
    monkeypatch.setattr(loader, "_addresses", {})
    monkeypatch.setattr(loader, "_statistics", loader.Statistics())
    return tmp_path


def counts():
    now = loader.statistics()
    return now.compiled, now.loaded_from_disk, now.reused


def test_it_computes():
    (function,) = loader.load_kernels([kernel_text(2.0)])
    for size in (0, 1, 15, 16, 1000):
        x = np.arange(size, dtype=np.float32)
        y = np.full(size + 1, -7, np.float32)
        assert run(function, [x, y], [size], threads=2) == 0
        np.testing.assert_array_equal(y[:size], x * 2 + 1)
        assert y[size] == -7


def test_each_text_is_compiled_once(fresh):
    first = loader.load_kernels([kernel_text(1.5), kernel_text(2.5), kernel_text(1.5)])
    assert first[0] == first[2] != first[1]
    assert counts() == (2, 0, 1)
    again = kernel_text(1.5, "other_name").replace("# the user's line", "# another\n\n    # line")
    assert loader.load_kernel(again) == first[0]
    assert counts() == (2, 0, 2)


def test_a_kernel_with_another_number_of_lanes_is_another(fresh):
    text = kernel_text(1.25)
    assert loader.load_kernel(text, 4) != loader.load_kernel(text, 8)
    assert counts() == (2, 0, 0)


def test_a_damaged_entry_is_compiled_again(fresh, monkeypatch):
    text = kernel_text(3.0)
    loader.load_kernel(text)
    (entry,) = (path for path in fresh.rglob("kernel-*.entry"))
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-100])
    monkeypatch.setattr(loader, "_addresses", {})
    monkeypatch.setattr(native, "load_object", lambda data: None)  # the first one is still loaded
    loader.load_kernel(text)
    assert counts() == (2, 0, 0)
    assert len(entry.read_bytes()) == len(whole)


def test_an_unusable_cache_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(cache, "_default", cache.DiskCache(tmp_path / "file"))
    x, y = np.ones(3, np.float32), np.zeros(3, np.float32)
    assert run(loader.load_kernel(kernel_text(4.25)), [x, y], [3]) == 0
    assert (y == 5.25).all()


def test_a_second_process_imports_no_numba(tmp_path):
    script = f"""
import sys
from gradloom.runtime import loader
text = {kernel_text(6.0)!r}
loader.load_kernels([text, text.replace("6.0", "7.0")])
statistics = loader.statistics()
loaded = [name for name in ("numba", "scipy") if name in sys.modules]
print(statistics.compiled, statistics.loaded_from_disk, loaded)
"""
    environment = {"GRADLOOM_CACHE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", script]
    said = [
        subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for _ in range(2)
    ]
    assert said[0].startswith("2 0 ['numba'")
    assert said[1] == "0 2 []\n"


def test_contractions_are_found(fresh):
    text = """
def product(buffers, dims, status, tid, nth):
    a = f32_pointer(buffers, 0)
    b = f32_pointer(buffers, 1)
    c = f32_pointer(buffers, 2)
    m = dims[0]
    n = dims[1]
    k = dims[2]
    lo = m * tid // nth
    hi = m * (tid + 1) // nth
    own = offset(c, lo * n)
    contract_f32(offset(a, lo * k), k, 1, b, n, 1, 0, own, n, own, n, hi - lo, n, k)
"""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((37, 20)).astype(np.float32)
    b = rng.standard_normal((20, 41)).astype(np.float32)
    results = []
    for threads in (1, 2):
        c = np.empty((37, 41), np.float32)
        assert run(loader.load_kernel(text), [a, b, c], [37, 41, 20], threads) == 0
        results.append(c)
    np.testing.assert_allclose(results[0], a @ b, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(*results)


def test_only_products_that_a_text_calls_are_made() -> None:
    called = "contract_f32(a) + contract_at_f64(a) + contract_in_i32(a) + turn_f32(a)"
    others = "i64(a) + f32(a) + own_turn_f32(a) + at_f32(a)"
    found = loader._CONTRACT.findall(f"{called} + {others}")
    assert found == ["f32", "at_f64", "in_i32", "turn_f32"]


def test_scalars_in_kernels(fresh):
    text = """
def scalars(buffers, dims, status, tid, nth):
    a = i64_pointer(buffers, 0)
    n = dims[0]
    total = 0
    for i in range(n):
        if i % 3 == 0 and i != 6:
            total += min(i, dims[1])
        else:
            total = total - 1
        for j in range(i, 0, -2):
            total += j
    store_one(a, 0, i64(total))
    store_one(a, 1, i64(max(n, 5) // 2 + (n << 1)))
"""
    out = np.zeros(2, np.int64)
    assert run(loader.load_kernel(text), [out], [11, 4]) == 0
    total = 0
    for i in range(11):
        total += min(i, 4) if i % 3 == 0 and i != 6 else -1
        total += sum(range(i, 0, -2))
    assert out.tolist() == [total, 11 // 2 + 22]


def test_threads_share_the_loader(fresh):
    found = []

    def work():
        found.append(loader.load_kernels([kernel_text(float(n)) for n in (11, 12)]))

    together(*[work] * 4)
    assert all(addresses == found[0] for addresses in found) and len(found) == 4
    assert counts() == (2, 0, 6)


def test_a_text_that_numba_cannot_type_is_an_error_and_no_more(fresh):
    bad = kernel_text(1.0).replace("a0 = f32_pointer(buffers, 0)", "a0 = lanes(buffers)")
    with pytest.raises(Exception, match="lanes"):
        loader.load_kernels([kernel_text(21.0), bad, kernel_text(22.0)])
    assert loader.load_kernel(kernel_text(21.0))


FRAME = """
def kernel(buffers, dims, status, tid, nth):
    x = dims[0]
    BODY
"""

REFUSED = {
    "import": "import os",
    "call of a builtin": "open(x)",
    "call of a result": "lanes(x)(x)",
    "call by attribute": "x.real(3)",
    "attribute": "y = x.real",
    "string": "y = 'text'",
    "bytes": "y = b'text'",
    "docstring": "'text'",
    "none": "y = None",
    "complex": "y = 2j",
    "formatted": "y = f'{x}'",
    "lambda": "y = lambda: 0",
    "comprehension": "y = [i for i in range(3)]",
    "list": "y = [x]",
    "tuple": "y, z = x, x",
    "chain": "y = z = x",
    "walrus": "lanes(y := x)",
    "while": "while x > 0: x = x - 1",
    "for over a name": "for i in x: pass",
    "for else": "for i in range(x): pass\n    else: pass",
    "break": "for i in range(x): break",
    "return": "return x",
    "yield": "yield x",
    "raise": "raise x",
    "assert": "assert x",
    "delete": "del x",
    "global": "global x",
    "try": "try: pass\n    except: pass",
    "with": "with x: pass",
    "class": "class y: pass",
    "function": "def inner(buffers, dims, status, tid, nth): pass",
    "subscript of another": "y = buffers[0]",
    "slice": "y = dims[0:2]",
    "computed index": "y = dims[x]",
    "negative index": "y = dims[-1]",
    "store into dims": "dims[0] = 1",
    "keyword": "lanes(n=x)",
    "star": "lanes(*x)",
    "power": "y = x ** 2",
    "matmul": "y = x @ x",
    "conditional": "y = x if x else x",
    "is": "y = x is x",
    "in": "y = x in x",
    "double comparison": "y = 0 < x < 3",
    "expression": "x + 1",
    "dunder": "y = __builtins__",
    "underscore": "_y = x",
    "shadowed vocabulary": "lanes = x",
    "shadowed range": "for range in range(3): pass",
    "annotation": "y: int = 3",
    "syntax": "y = = 3",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=list(REFUSED))
def test_refused(body):
    names = {"lanes", "range", "load"}
    with pytest.raises(ValueError, match=r"line [45]"):
        check_source(FRAME.replace("BODY", body), names)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 3",
        "def kernel(a, b): pass",
        "def kernel(buffers, dims, status, tid, nth=1): pass",
        "def kernel(buffers, dims, status, tid, nth, *more): pass",
        "def kernel(buffers, dims, status, tid, nth: int): pass",
        "def kernel(buffers, dims, status, tid, nth) -> int: pass",
        "@lanes\ndef kernel(buffers, dims, status, tid, nth): pass",
        "async def kernel(buffers, dims, status, tid, nth): pass",
        "def kernel(buffers, dims, status, tid, nth): pass\nlanes(3)",
        "def kernel(buffers, dims, status, tid, nth):\n  x = " + "(" * 500 + "1" + ")" * 500,
        "def lanes(buffers, dims, status, tid, nth): pass",
        "nul\0",
    ],
)
def test_refused_as_a_whole(text):
    with pytest.raises(ValueError, match="line"):
        check_source(text, {"lanes", "range"})


def test_the_line_is_the_one_in_the_text_given(fresh):
    text = kernel_text(1.0).rstrip() + "\n        # a comment\n\n        open(i)\n"
    with pytest.raises(ValueError, match=r"line 12.*open"):
        loader.load_kernel(text)
    assert counts() == (0, 0, 0)


def test_what_the_key_depends_on():
    modules = {path.stem for path in reached("loader", "jit", "vector")}
    assert {"loader", "jit", "native", "vector", "maths", "lanes"} <= modules
    assert {"arcs", "roots", "half"} <= modules  # imported by a list over several lines
    folder = Path(loader.__file__).parent
    assert all((folder / f"{module}.py").exists() for module in modules)
    text = loader.normalise(kernel_text(1.0))
    assert loader._key(text, 8) != loader._key(text, 16)
