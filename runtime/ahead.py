# pyright: basic
"""What programs need whatever their kernels are, made while the compiler is still at work.

The passes are Python, LLVM works without Python's lock: so where nothing is on disk yet, what
launches programs and the products' micro-kernels are ready when the first kernel is written.
"""

from __future__ import annotations

import functools
import threading
from contextlib import suppress

from . import driver, tile


@functools.cache
def begin(products: tuple[str, ...], lanes: int) -> None:
    """Begin to make the launcher and `products` (see `tile.source`), in a thread of their own.

    Once a process. Nobody waits for it, or is told of a failure: who needs these makes them then.
    """

    def work() -> None:
        with suppress(Exception):
            driver.prepare()
            for product in products:
                tile.contraction(product, lanes)

    threading.Thread(target=work, name="gradloom ahead").start()
