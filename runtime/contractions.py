"""The products' objects, each with the micro-kernels of one element type: compiled at their first
use (`tile`), kept in the disk cache, loaded once a process.

What writes them is only imported where one is not on disk.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator

from ..ir.units import PANEL_ROW
from . import native
from .cache import reached
from .forks import wait_at_fork

PREFIX = "gradloom_contract_"


@functools.cache
def _own_text() -> bytes:
    return b"".join(path.read_bytes() for path in reached("tile"))


_lock = threading.RLock()
_making: dict[tuple[str, int], threading.RLock] = {}
_loaded: dict[tuple[str, int], int] = {}


def _locks() -> Iterator[threading.RLock]:
    yield _lock
    yield from tuple(_making.values())


wait_at_fork(_locks)


def symbol(dtype: str, lanes: int) -> str:
    """What a contraction is called in its object: of this element type, see `tile.source`."""
    return f"{PREFIX}{dtype}_{lanes}"


def _compiled(dtype: str, lanes: int) -> bytes:
    from .tile import source  # not where the object is on disk

    # Level 0: the text is what the machine should do, and the passes only cost their time.
    return native.compile_object(source(dtype, lanes), simplify=False)


def contraction(dtype: str, lanes: int) -> int:
    """The address of a contraction; compiled once a machine, loaded once a process.

    Several threads may ask at a time: who asks for what another one makes waits for it.
    """
    if dtype.startswith("at_"):  # which calls the usual one; asked for here, where no lock is held
        contraction(dtype.removeprefix("at_"), lanes)
    asked = dtype, lanes
    with _lock:
        making = _making.setdefault(asked, threading.RLock())
    with making:
        if asked not in _loaded:
            text = hashlib.sha256(_own_text()).hexdigest()
            what = f"tile {dtype} {lanes} {PANEL_ROW} {text} {native.host().identity}"
            key = "tile-" + hashlib.sha256(what.encode()).hexdigest()
            data, _ = native.cached_object(key, lambda: _compiled(dtype, lanes))
            native.load_object(data)
            _loaded[asked] = native.address(symbol(dtype, lanes))
        return _loaded[asked]


def provide(dtype: str, lanes: int) -> None:
    """Make `gradloom_contract_<dtype>` known to the objects loaded from now on."""
    native.add_symbol(PREFIX + dtype, contraction(dtype, lanes))
