import asyncio
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing

import pytest

from workers.speech.in_thread import Stopped, read_in_thread, until


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


async def test_items_in_their_order(executor: ThreadPoolExecutor) -> None:
    def work(_: threading.Event) -> Generator[int, None, None]:
        yield from range(3)

    assert [item async for item in read_in_thread(executor, work)] == [0, 1, 2]


async def test_an_error_reaches_the_reader(executor: ThreadPoolExecutor) -> None:
    def work(_: threading.Event) -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    items = read_in_thread(executor, work)
    assert await anext(items) == 1
    with pytest.raises(ValueError, match="broken"):
        await anext(items)


async def test_a_reader_who_leaves_between_two_steps_closes_the_work(executor: ThreadPoolExecutor) -> None:
    closed = threading.Event()

    def work(_: threading.Event) -> Generator[int, None, None]:
        try:
            yield from range(1_000)
        finally:
            closed.set()

    async with aclosing(read_in_thread(executor, work)) as items:
        assert await anext(items) == 0
    assert closed.is_set()


async def test_a_long_step_ends_early_and_the_work_is_closed(executor: ThreadPoolExecutor) -> None:
    begun, steps = threading.Event(), threading.Semaphore(0)
    ended: Future[type[BaseException]] = Future()

    def endless() -> Iterator[int]:
        while True:
            begun.set()
            assert steps.acquire(timeout=60)
            yield 1

    def work(stop: threading.Event) -> Generator[int, None, None]:
        try:
            yield sum(until(stop, endless()))
        except BaseException as error:
            ended.set_result(type(error))
            raise

    reading = asyncio.ensure_future(anext(read_in_thread(executor, work)))
    await asyncio.to_thread(begun.wait, 20)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    steps.release(1)  # what it is waiting for; for a second it would wait in vain
    assert await asyncio.to_thread(ended.result, 20) is Stopped


def test_stopped_between_two_items() -> None:
    stop = threading.Event()
    items = until(stop, [1, 2])
    assert next(items) == 1
    stop.set()
    with pytest.raises(Stopped):
        next(items)
