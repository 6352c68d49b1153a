"""Blocking iterators, worked off in threads and read on the loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[threading.Event], Generator[T, None, None]]
"""What a thread does: it is given the event that tells it to stop."""

_END: Any = object()


class Stopped(Exception):
    """Nobody reads any more."""


def until(stop: threading.Event, items: Iterable[T]) -> Iterator[T]:
    """The items; raises Stopped between two of them once nobody reads any more."""
    for item in items:
        if stop.is_set():
            raise Stopped
        yield item


async def read_in_thread(executor: Executor, work: Work[T]) -> AsyncGenerator[T, None]:
    """What the work yields, one step at a time. Raises what it raises.

    When the reader leaves, the event is set and the work's generator closed, as soon as the step it is at has ended:
    it is not waited for.
    """
    stop = threading.Event()
    items = work(stop)
    step = executor.submit(next, items, _END)
    try:
        while (item := await asyncio.wrap_future(step)) is not _END:
            yield item
            step = executor.submit(next, items, _END)
    finally:
        stop.set()
        step.add_done_callback(lambda _: items.close())
