"""Locks across a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress


def wait_at_fork(locks: Callable[[], Iterable[threading.RLock]]) -> None:
    """Have each fork wait until it holds these locks: a child has no other thread to free them.

    `locks` says which, in the order in which they are taken; it is asked for the later ones when
    the earlier ones are held. Ctrl-C ends the waiting, but Python forks all the same: so these are
    locks that know who holds them, and what this thread does not hold stays as it is.
    """

    def take() -> None:
        for lock in locks():
            lock.acquire()

    def release() -> None:
        for lock in locks():
            with suppress(RuntimeError):  # not ours: interrupted before
                lock.release()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=take, after_in_parent=release, after_in_child=release)
