"""Parallel: many objects on their way at once, since each waits for an answer and not for a processor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 16


def in_parallel(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    at_once: int = AT_ONCE,
) -> Iterator[tuple[T, R]]:
    """Do some work for each item in threads; gives each item with what came of it, in no order.

    Items are taken from this thread, and only as many ahead as are worked on. Whatever `work` raises ends the whole,
    once the pieces that were begun have ended; so does leaving off to take answers.
    """
    left = iter(items)
    running: dict[Future[R], T] = {}
    owner = threading.get_ident()
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="artstore-objects")
    try:
        while True:
            for item in islice(left, at_once - len(running)):
                running[pool.submit(work, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                yield item, future.result()
    finally:
        # Its threads are not joined, as `with` would do: what was left may be collected as garbage in any thread, also
        # in one that is just beginning, and so holds the lock which that takes.
        pool.shutdown(wait=False, cancel_futures=True)
        if threading.get_ident() == owner:
            wait([future for future in running if not future.cancelled()])
