# pyright: basic
"""What programs need whatever their kernels are, made while the compiler is still at work.

The passes are Python, LLVM works without Python's lock: so where nothing is on disk yet, what
launches programs and the products' micro-kernels are ready when the first kernel is written.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import suppress

from . import contractions, driver


@functools.cache
def begin(products: tuple[str, ...], lanes: int) -> None:
    """Begin to make the launcher and `products` (see `tile.source`), each in a thread of its own.

    Once a process. Nobody waits for it, or is told of a failure: who needs these makes them then.
    """

    def begun(work: Callable[[], object]) -> None:
        def careless() -> None:
            with suppress(Exception):
                work()

        threading.Thread(target=careless, name="gradloom ahead").start()

    for product in products:
        begun(functools.partial(contractions.contraction, product, lanes))
    begun(driver.prepare)
