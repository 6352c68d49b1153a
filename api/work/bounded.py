"""Work side by side, so much at once."""

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine
from typing import Any

from familyai import cancel

Piece = Callable[[], Coroutine[Any, Any, None]]


async def bounded(limit: int, pieces: AsyncIterable[Piece]) -> None:
    """Does all pieces, begun in their order, at most `limit` at once; they are asked for as places fall free.

    Raises what the first to fail raised, when the others have been cancelled; cancelling it cancels them all. No
    `asyncio.TaskGroup`: that cancels each of them once only, and redis-py may swallow it.
    """
    coming = aiter(pieces)
    tasks: set[asyncio.Task[None]] = set()
    try:
        while (piece := await anext(coming, None)) is not None:
            tasks.add(asyncio.create_task(piece()))
            while len(tasks) >= limit:
                await _reap(tasks)
        while tasks:
            await _reap(tasks)
    finally:
        await cancel.end(tasks)


async def _reap(tasks: set["asyncio.Task[None]"]) -> None:
    """Waits for one to end, and takes away those that have. Raises what one of them raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks -= done
    errors = [error for task in done if not task.cancelled() and (error := task.exception()) is not None]
    if errors:
        raise errors[0]
