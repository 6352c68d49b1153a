import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from api.work.bounded import bounded
from familyai import cancel

Piece = Callable[[], Coroutine[Any, Any, None]]


async def pieces(*made: Piece) -> AsyncIterator[Piece]:
    for piece in made:
        yield piece


async def test_so_much_at_once_and_in_order() -> None:
    begun: list[int] = []
    most, running, asked = 0, 0, 0

    async def work(n: int) -> None:
        nonlocal most, running
        begun.append(n)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async def ten() -> AsyncIterator[Piece]:
        nonlocal asked
        for n in range(10):
            assert running < 3, "asked for too early"
            asked += 1
            yield lambda n=n: work(n)

    await bounded(3, ten())
    assert begun == list(range(10))
    assert most == 3
    assert asked == 10


async def test_the_first_failure_ends_the_others() -> None:
    ended = asyncio.Event()

    async def patient() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def broken() -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        await bounded(2, pieces(patient, broken, patient))
    assert ended.is_set()


async def test_cancelling_it_cancels_them_all() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def patient() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(bounded(1, pieces(patient)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_what_asks_may_fail_too() -> None:
    async def lost() -> AsyncIterator[Piece]:
        raise FileNotFoundError
        yield

    with pytest.raises(FileNotFoundError):
        await bounded(1, lost())


async def test_a_piece_that_swallows_a_cancellation_is_told_again() -> None:
    begun, swallowed = asyncio.Event(), 0

    async def stubborn() -> None:
        nonlocal swallowed
        begun.set()
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(bounded(1, pieces(stubborn)))
    await begun.wait()
    await cancel.end([task])
    assert swallowed == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}
