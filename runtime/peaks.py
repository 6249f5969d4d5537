# pyright: basic
"""What this machine can do at most, measured: multiply-adds in registers, and bytes of memory.

Two loops, in LLVM assembly like the other hand-written code, run by the same team of threads as
programs.  The roofline of a kernel is the larger of its operations at the one rate and its bytes at
the other (Williams, Waterman and Patterson, CACM 52, 2009).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import time
from dataclasses import dataclass

import numpy as np

from ..ir.parameter import aligned_empty
from . import driver, native

CHAINS = 12  # independent sums: more than a multiply-add takes cycles times how many go at once
ROUNDS = 1 << 17  # of the multiply-add loop: some tenths of a millisecond
LENGTH = 1 << 24  # float32 numbers in each of the triad's three arrays: more than caches hold
REPEATS, SECONDS = 5, 0.04  # at least; other processes may have the cores in some of them

_HEAD = """
define i32 @{name}(ptr %r, ptr %e, ptr %buffers, ptr %dims, ptr %s, i64 %tid, i64 %nth) nounwind {{
entry:
  %n = load i64, ptr %dims
"""

# x = x * 0.999 + 0.001 in each chain, which stays near 1.
_FMA = (
    """declare {vector} @llvm.fma.{suffix}({vector}, {vector}, {vector})
"""
    + _HEAD
    + """  %out.p = load ptr, ptr %buffers
  %place = mul i64 %tid, 64
  %out = getelementptr i8, ptr %out.p, i64 %place
  %a = {splat_a}
  %b = {splat_b}
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i.next, %loop]
{phis}
{steps}
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %n
  br i1 %more, label %loop, label %done
done:
{sums}
  store {vector} %sum{last}, ptr %out, align 4
  ret i32 0
}}
"""
)

# a[i] = b[i] + 3 * c[i], each thread on its share; STORE may go past the caches.
_TRIAD = (
    """declare <{lanes} x float> @llvm.fma.v{lanes}f32({v}, {v}, {v})
"""
    + _HEAD
    + """  %a.p = load ptr, ptr %buffers
  %b.pp = getelementptr ptr, ptr %buffers, i64 1
  %b.p = load ptr, ptr %b.pp
  %c.pp = getelementptr ptr, ptr %buffers, i64 2
  %c.p = load ptr, ptr %c.pp
  %three = {splat}
  %low.1 = mul i64 %n, %tid
  %low = sdiv i64 %low.1, %nth
  %next = add i64 %tid, 1
  %high.1 = mul i64 %n, %next
  %high = sdiv i64 %high.1, %nth
  br label %loop
loop:
  %i = phi i64 [%low, %entry], [%i.next, %body]
  %more = icmp slt i64 %i, %high
  br i1 %more, label %body, label %done
body:
  %a = getelementptr {v}, ptr %a.p, i64 %i
  %b = getelementptr {v}, ptr %b.p, i64 %i
  %c = getelementptr {v}, ptr %c.p, i64 %i
  %x = load {v}, ptr %b
  %y = load {v}, ptr %c
  %z = call {v} @llvm.fma.v{lanes}f32({v} %y, {v} %three, {v} %x)
  store {v} %z, ptr %a{hint}
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret i32 0
}}
!0 = !{{i32 1}}
"""
)


@dataclass(frozen=True, slots=True)
class Peaks:
    """float32, float64: operations a second.  bandwidth: bytes a second, from and to memory."""

    threads: int
    float32: float
    float64: float
    bandwidth: float

    def seconds(self, flops: int, wide: int, moved: int) -> float:
        """The least time of a launch with so many operations, `wide` of them on 64-bit numbers."""
        return max((flops - wide) / self.float32 + wide / self.float64, moved / self.bandwidth)


@functools.cache
def peaks(threads: int) -> Peaks:
    """The peaks of `threads` threads; once a process (a quarter of a second)."""
    return Peaks(
        threads, multiply_adds(threads, 32), multiply_adds(threads, 64), bandwidth(threads)
    )


def multiply_adds(threads: int, bits: int) -> float:
    """Operations a second on floats of so many bits, two in each multiply-add: the best of a few
    runs, now."""
    lanes = native.host().lanes * 32 // bits
    kind = {32: "float", 64: "double"}[bits]
    vector = f"<{lanes} x {kind}>"
    chains = range(CHAINS)
    step = "call {v} @llvm.fma.v{n}f{b}({v} %x{c}, {v} %a, {v} %b)"
    text = _FMA.format(
        name="PEAK",
        vector=vector,
        suffix=f"v{lanes}f{bits}",
        splat_a=_splat(vector, kind, lanes, 0.9990234375),
        splat_b=_splat(vector, kind, lanes, 0.0009765625),
        phis="\n".join(
            f"  %x{c} = phi {vector} [zeroinitializer, %entry], [%y{c}, %loop]" for c in chains
        ),
        steps="\n".join(
            f"  %y{c} = " + step.format(v=vector, n=lanes, b=bits, c=c) for c in chains
        ),
        sums="\n".join(
            f"  %sum{c} = fadd {vector} %y{c}, " + (f"%sum{c - 1}" if c else "zeroinitializer")
            for c in chains
        ),
        last=CHAINS - 1,
    )
    out = aligned_empty((threads * 64 + 64,), np.dtype(np.uint8))
    seconds = _best(text, [out], ROUNDS, threads)
    return 2 * lanes * CHAINS * ROUNDS * threads / seconds


def bandwidth(threads: int) -> float:
    """Bytes a second from and to memory: the best of a few runs, now."""
    lanes = native.host().lanes
    vector = f"<{lanes} x float>"
    arrays = [aligned_empty((LENGTH,), np.dtype(np.float32)) for _ in range(3)]
    for array in arrays:
        array.fill(1.0)  # so that there is memory behind it
    rates: list[float] = []
    for hint in (", align 64, !nontemporal !0", ""):
        text = _TRIAD.format(
            name="PEAK", lanes=lanes, v=vector, splat=_splat(vector, "float", lanes, 3.0), hint=hint
        )
        seconds = _best(text, arrays, LENGTH // lanes, threads)
        rates.append(sum(array.nbytes for array in arrays) / seconds)
    return max(rates)


def _splat(vector: str, kind: str, lanes: int, value: float) -> str:
    """An instruction that makes a vector of one number."""
    numbers = ", ".join(f"{kind} {value}" for _ in range(lanes))
    return f"bitcast {vector} <{numbers}> to {vector}"


def _best(text: str, arrays: list[np.ndarray], count: int, threads: int) -> float:
    """The least seconds of a few runs of the kernel `PEAK` in `text` on `count` rounds."""
    digest = hashlib.sha256(f"{native.host().identity} {text}".encode()).hexdigest()
    symbol = f"gradloom_peak_{digest[:32]}"
    data, _ = native.cached_object(
        "peak-" + digest,
        lambda: native.compile_object(text.replace("@PEAK(", f"@{symbol}("), simplify=False),
    )
    native.load_object(data)
    table = (ctypes.c_int64 * (1 + len(arrays)))(
        native.address(symbol), *(array.ctypes.data for array in arrays)
    )
    dims, status = (ctypes.c_int64 * 1)(count), (ctypes.c_int64 * 2)()
    program = driver.native_program([driver.Launch(0, 1, 0)])
    places = ctypes.addressof(table), ctypes.addressof(dims), ctypes.addressof(status)
    call = driver.Call(program, *places, paced=False)
    begun, taken = time.perf_counter(), list[float]()
    while len(taken) < REPEATS or time.perf_counter() - begun < SECONDS:
        start = time.perf_counter()
        call(threads)
        taken.append(time.perf_counter() - start)
    return min(taken)
