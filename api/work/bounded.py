"""Work side by side, so much at once."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable

Piece = Callable[[], Awaitable[None]]


async def bounded(limit: int, pieces: AsyncIterable[Piece]) -> None:
    """Does all pieces, begun in their order, at most `limit` at once; they are asked for as places fall free.

    Raises what the first to fail raised, when the others have been cancelled; cancelling it cancels them all.
    """
    places = asyncio.Semaphore(limit)

    async def do(piece: Piece) -> None:
        try:
            await piece()
        finally:
            places.release()

    try:
        async with asyncio.TaskGroup() as group:
            await places.acquire()
            async for piece in pieces:
                group.create_task(do(piece))
                await places.acquire()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
