# pyright: basic
"""What native code reads of Python's objects: a call's arrays, one behind the other, and its
results, in a list.

To ask Python for dtype, shape and address takes longer than a small program does.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import native

HEAD = object.__basicsize__  # what every object begins with; the last of it is its type
DATA, NDIM, SHAPE, DTYPE, FLAGS, WEAK = (HEAD + 8 * n for n in (0, 1, 2, 5, 6, 7))  # in an array
AS_MADE = 1 | 4 | 0x100 | 0x400  # flags: in C's order, owns its data, which is aligned, writeable
LENGTH, ITEMS, LIST_ITEMS = HEAD, tuple.__basicsize__, HEAD + 8  # in a tuple, and in a list

CALLED = (
    *("PyEval_SaveThread", "PyEval_RestoreThread", "PyGILState_GetThisThreadState"),
    *("PyLong_AsVoidPtr", "PyLong_FromLongLong", "PyBool_FromLong", "PyList_New"),
    *("PyObject_GetAttr", "PyObject_Vectorcall", "Py_IncRef", "Py_DecRef"),
    "PyErr_Clear",
)
_kept: list[object] = []  # what native functions point to


def check_objects() -> None:
    """ImportError where arrays, tuples or lists are laid out differently."""
    array = np.empty((2, 3), np.float32)
    pair, row, part = (array, array), [array], array[:, :2]
    seen, unseen = array.copy(), array.copy()
    reference = weakref.ref(seen)

    def word(of: object, offset: int) -> int:
        return ctypes.c_int64.from_address(id(of) + offset).value

    def users(of: np.ndarray) -> int:
        return ctypes.c_int32.from_address(id(of)).value

    alike = [
        word(array, HEAD - 8) == id(np.ndarray),
        word(array, DATA) == array.ctypes.data,
        ctypes.c_int32.from_address(id(array) + NDIM).value == 2,
        (ctypes.c_int64 * 2).from_address(word(array, SHAPE))[:] == [2, 3],
        word(array, DTYPE) == id(array.dtype),
        (word(array, FLAGS) & AS_MADE, word(part, FLAGS) & AS_MADE) == (AS_MADE, AS_MADE & ~5),
        (word(seen, WEAK), word(unseen, WEAK)) == (id(reference), 0),
        users(array) - users(seen) == 5 - 1,  # `array`, a view's base, and three entries
        kind(np.dtype(">f4")) != kind(array.dtype) == kind(np.dtype("f4", copy=True)),
        (word(pair, LENGTH), word(pair, ITEMS + 8)) == (2, id(array)),
        ctypes.c_int64.from_address(word(row, LIST_ITEMS)).value == id(array),
    ]
    if not all(alike):
        raise ImportError("gradloom: arrays of this NumPy on this Python do not begin as expected")


def load() -> None:
    """Let native code know what is an array, None, or True, and what it calls of Python."""
    check_objects()
    things = {"array": np.ndarray, "none": None, "true": True}
    things |= {f"name_{name}": sys.intern(f"_{name}") for name in ("last", "build", "usual")}
    for name, thing in things.items():
        native.add_symbol(f"gradloom_{name}", id(thing))
    _kept.extend(things.values())
    for name in CALLED:
        where = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
        native.add_symbol(name, where or 0)


class _Method(ctypes.Structure):
    """`PyMethodDef`: how Python knows a native function."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


def functions_at(where: int) -> Callable[[int], Callable[..., Any]]:
    """What binds the native `PyObject *(PyObject *self, PyObject *const *args, Py_ssize_t count)`
    at `where` to a number, its `self`.

    To Python it is then a function like its own, which is called in a fraction of the time that a
    function of ctypes takes.
    """
    method = _Method(b"call", where, 0x80, None)  # METH_FASTCALL
    kind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    make = kind(("PyCFunction_NewEx", ctypes.pythonapi))
    _kept.append(method)
    return lambda number: make(ctypes.addressof(method), number, None)


def method_at(where: int, owner: type, name: str, says: str) -> Any:
    """The native `PyObject *(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject
    *names)` at `where` as a method for a class."""
    text = f"{name}($self, /, *args, **named)\n--\n\n{says}"  # as Python finds signatures
    method = _Method(name.encode(), where, 0x80 | 0x02, text.encode())  # and METH_KEYWORDS
    kind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)
    _kept.append(method)
    return kind(("PyDescr_NewMethod", ctypes.pythonapi))(owner, ctypes.addressof(method))


def kind(dtype: np.dtype) -> tuple[int, int]:
    """What tells a dtype from others, also from its like of other byte order: its scalar type, and
    its letters and number."""
    first, second = (ctypes.c_int64 * 2).from_address(id(dtype) + HEAD)
    return first, second


def expectations(types: Sequence[tuple[np.dtype, tuple[int, ...]]]) -> list[int]:
    """The words that `alike` compares arrays of such dtypes and shapes with."""
    return [word for dtype, shape in types for word in (*kind(dtype), len(shape), *shape)]


ARRAYS = """
@gradloom_array = external global i8

; Whether %length arrays are as many as they should be, C-contiguous, and of the dtypes and shapes
; in %words.
define internal i1 @alike(ptr %items, i64 %length, i64 %inputs, ptr %words) nounwind {{
entry:
  %all = icmp eq i64 %length, %inputs
  br i1 %all, label %next, label %no
next:
  %n = phi i64 [0, %entry], [%n1, %same]
  %here = phi ptr [%words, %entry], [%following, %same]
  %more = icmp slt i64 %n, %inputs
  br i1 %more, label %look, label %yes
look:
  %object.p = getelementptr ptr, ptr %items, i64 %n
  %object = load ptr, ptr %object.p
  %type.p = getelementptr i8, ptr %object, i64 {type}
  %type = load ptr, ptr %type.p
  %array = icmp eq ptr %type, @gradloom_array
  br i1 %array, label %ask, label %no
ask:
  %flags.p = getelementptr i8, ptr %object, i64 {flags}
  %flags = load i32, ptr %flags.p
  %contiguous = and i32 %flags, 1
  %dtype.p = getelementptr i8, ptr %object, i64 {dtype}
  %dtype = load ptr, ptr %dtype.p
  %scalar.p = getelementptr i8, ptr %dtype, i64 {head}
  %scalar = load i64, ptr %scalar.p
  %letters.p = getelementptr i64, ptr %scalar.p, i64 1
  %letters = load i64, ptr %letters.p
  %ndim.p = getelementptr i8, ptr %object, i64 {ndim}
  %ndim.32 = load i32, ptr %ndim.p
  %ndim = zext i32 %ndim.32 to i64
  %scalar.wanted = load i64, ptr %here
  %letters.wanted.p = getelementptr i64, ptr %here, i64 1
  %letters.wanted = load i64, ptr %letters.wanted.p
  %ndim.wanted.p = getelementptr i64, ptr %here, i64 2
  %ndim.wanted = load i64, ptr %ndim.wanted.p
  %c0 = icmp ne i32 %contiguous, 0
  %c1 = icmp eq i64 %scalar, %scalar.wanted
  %c2 = icmp eq i64 %letters, %letters.wanted
  %c3 = icmp eq i64 %ndim, %ndim.wanted
  %c01 = and i1 %c0, %c1
  %c23 = and i1 %c2, %c3
  %fits = and i1 %c01, %c23
  %sizes = getelementptr i64, ptr %here, i64 3
  %shape.p = getelementptr i8, ptr %object, i64 {shape}
  %shape = load ptr, ptr %shape.p
  br i1 %fits, label %size, label %no
size:
  %axis = phi i64 [0, %ask], [%axis1, %equal]
  %left = icmp slt i64 %axis, %ndim
  br i1 %left, label %compare, label %same
compare:
  %size.p = getelementptr i64, ptr %shape, i64 %axis
  %size.here = load i64, ptr %size.p
  %wanted.p = getelementptr i64, ptr %sizes, i64 %axis
  %wanted = load i64, ptr %wanted.p
  %agree = icmp eq i64 %size.here, %wanted
  br i1 %agree, label %equal, label %no
equal:
  %axis1 = add i64 %axis, 1
  br label %size
same:
  %following = getelementptr i64, ptr %sizes, i64 %ndim
  %n1 = add i64 %n, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}}

; Put the addresses of the arrays into the table, and clear the status. moves: triples of which
; array, or which result behind those, the slot, and what is added to the address in that slot.
define internal void @bind(ptr %call, ptr %arrays, i64 %inputs, ptr %results) nounwind {{
entry:
  %table.p = getelementptr i64, ptr %call, i64 1
  %table = load ptr, ptr %table.p
  %status.p = getelementptr i64, ptr %call, i64 3
  %status = load ptr, ptr %status.p
  store i64 0, ptr %status
  %triples.p = getelementptr i64, ptr %call, i64 9
  %triples = load ptr, ptr %triples.p
  %moves.p = getelementptr i64, ptr %call, i64 10
  %moves = load i64, ptr %moves.p
  %list.p = getelementptr i8, ptr %results, i64 {list_items}
  %list = load ptr, ptr %list.p
  br label %next
next:
  %n = phi i64 [0, %entry], [%n1, %move]
  %more = icmp slt i64 %n, %moves
  br i1 %more, label %move, label %out
move:
  %triple = getelementptr [3 x i64], ptr %triples, i64 %n
  %index = load i64, ptr %triple
  %slot.p = getelementptr i64, ptr %triple, i64 1
  %slot = load i64, ptr %slot.p
  %shift.p = getelementptr i64, ptr %triple, i64 2
  %shift = load i64, ptr %shift.p
  %behind = sub i64 %index, %inputs
  %given = icmp slt i64 %behind, 0
  %array.p = getelementptr ptr, ptr %arrays, i64 %index
  %result.p = getelementptr ptr, ptr %list, i64 %behind
  %object.p = select i1 %given, ptr %array.p, ptr %result.p
  %object = load ptr, ptr %object.p
  %data.p = getelementptr i8, ptr %object, i64 {data}
  %data = load i64, ptr %data.p
  %address = add i64 %data, %shift
  %place = getelementptr i64, ptr %table, i64 %slot
  store i64 %address, ptr %place
  %n1 = add i64 %n, 1
  br label %next
out:
  ret void
}}
"""
