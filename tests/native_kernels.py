# pyright: basic
"""Small native kernels, and programs of them bound to memory of their own."""

import functools

import numpy as np

from gradloom.runtime import native
from gradloom.runtime.driver import Call, native_program

# Kernels in the convention of Numba's, each with one buffer p = buffers[0] of int64.
KERNELS = """
; p[tid] += dims[0]
define i32 @test_add(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  %p = load ptr, ptr %b
  %q = getelementptr i64, ptr %p, i64 %tid
  %v = load i64, ptr %q
  %x = load i64, ptr %d
  %w = add i64 %v, %x
  store i64 %w, ptr %q
  ret i32 0
}
; thread 0 sums what all left: p[64] = 3 * p[64] + p[0] + ... + p[nth - 1], and p[.] = p[64]
define i32 @test_mix(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
entry:
  %p = load ptr, ptr %b
  %first = icmp eq i64 %tid, 0
  br i1 %first, label %go, label %out
go:
  %t = getelementptr i64, ptr %p, i64 64
  %old = load i64, ptr %t
  %three = mul i64 %old, 3
  br label %loop
loop:
  %i = phi i64 [0, %go], [%i1, %loop]
  %sum = phi i64 [%three, %go], [%sum1, %loop]
  %q = getelementptr i64, ptr %p, i64 %i
  %v = load i64, ptr %q
  %sum1 = add i64 %sum, %v
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %nth
  br i1 %more, label %loop, label %end
end:
  store i64 %sum1, ptr %t
  ret i32 0
out:
  ret i32 -2
}
; thread dims[0] reports dims[1]
define i32 @test_fail(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  %who = load i64, ptr %d
  %me = icmp eq i64 %who, %tid
  br i1 %me, label %bad, label %good
bad:
  %site.p = getelementptr i64, ptr %d, i64 1
  %site = load i64, ptr %site.p
  store i64 %site, ptr %s
  ret i32 0
good:
  ret i32 0
}
define i32 @test_raise(ptr %r, ptr %e, ptr %b, ptr %d, ptr %s, i64 %tid, i64 %nth) {
  ret i32 1
}
"""


@functools.cache
def load_kernels():
    """Addresses, by name."""
    native.load_object(native.compile_object(KERNELS))
    return {name: native.address(f"test_{name}") for name in ("add", "mix", "fail", "raise")}


class Memory:
    """Table, dims and status as a caller would own them."""

    def __init__(self, table, dims):
        self.table = np.array(table, np.int64)
        self.dims = np.array(dims, np.int64)
        self.status = np.zeros(2, np.int64)

    def call(self, steps, **options):
        addresses = (self.table.ctypes.data, self.dims.ctypes.data, self.status.ctypes.data)
        return Call(native_program(steps), *addresses, **{"paced": False, **options})
