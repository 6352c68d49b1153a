"""Ends tasks for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 0.5


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancels tasks until they are done, and ignores what they say.

    Again and again, because a library may swallow a cancellation: redis-py does while it opens a connection. Being
    cancelled itself is no reason to leave one of them running: that is raised when all are done.
    """
    pending = {task for task in tasks if not task.done()}
    is_cancelled = False
    while pending:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=AGAIN_S)
        except asyncio.CancelledError:
            is_cancelled = True
        pending = {task for task in pending if not _is_over(task)}
    if is_cancelled:
        raise asyncio.CancelledError


def _is_over(task: "asyncio.Task[Any]") -> bool:
    if task.done() and not task.cancelled():
        task.exception()  # asked for, so that nobody logs it
    return task.done()
