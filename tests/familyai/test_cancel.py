"""A task that was told to end does end."""

import asyncio

from familyai import cancel


async def test_a_task_that_swallows_a_cancellation_is_told_again() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await cancel.end([task])
    assert task.cancelled()
    assert swallowed == 3


async def test_being_cancelled_meanwhile_leaves_none_running() -> None:
    leave = asyncio.Event()

    async def slow() -> None:
        while not leave.is_set():
            try:
                await leave.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(slow())
    ending = asyncio.create_task(cancel.end([task]))
    for _ in range(3):
        await asyncio.sleep(0)
        ending.cancel()
    assert not ending.done()
    leave.set()
    await asyncio.wait([ending])
    assert ending.cancelled()
    assert task.done()


async def test_what_tasks_raise_is_not_raised_here() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("on the way out")

    tasks = [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.sleep(0)
    await cancel.end(tasks)
    assert all(task.done() for task in tasks)
    assert isinstance(tasks[0].exception(), ValueError)


async def test_nothing_to_end() -> None:
    await cancel.end([])
