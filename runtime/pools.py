"""Work for the threads of a pool."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def submit(pool: Executor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
    """As `pool.submit`; done here and now where the main thread has ended, while others go on:
    pools then take nothing more."""
    try:
        return pool.submit(work, *args, **kwargs)
    except RuntimeError:
        done: Future[R] = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done
