"""Drives all batches and transcription jobs that are not over, as long as this process holds the lease.

What is done stands in the broker and the blob store; what is under way is only here. So when this process dies, the
next leader goes on from there, and doing a piece of work twice must change nothing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from api.front import Front
from api.work.lease import Lease
from familyai import cancel, keys
from familyai.broker import BROKER_ERRORS
from familyai.errors import InsufficientStorage, Unavailable

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
MOST_CRASHES = 3
REST_S = 2.0
_MAY_PASS = (*BROKER_ERRORS, Unavailable, InsufficientStorage)

Drive = Callable[[str], Coroutine[Any, Any, None]]
"""Drives the work of this id to its end. Raises what keeps it from going on; it is then called again."""
GiveUp = Callable[[str, str], Awaitable[None]]
"""Ends the work of this id as failed, for this reason, since driving it crashed again and again."""
IsOver = Callable[[str], Awaitable[bool]]
"""Whether the work of this id was cancelled, deleted, or has ended."""
TidyUp = Callable[[str], Awaitable[None]]
"""Deletes what led to the results of the work of this id, which is over and driven by nobody any more."""


class Kind:
    """One kind of work: how it is driven, how given up, how one knows that it is over, and what is to do then."""

    def __init__(self, drive: Drive, give_up: GiveUp, is_over: IsOver, tidy_up: TidyUp) -> None:
        self.drive, self.give_up, self.is_over, self.tidy_up = drive, give_up, is_over, tidy_up


class Leader:
    """`kinds` by the prefix of their entries in `familyai:work`."""

    def __init__(self, front: Front, kinds: dict[str, Kind]) -> None:
        self._front = front
        self._kinds = kinds
        self._lease = Lease(front.redis, front.id)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._crashes: dict[str, int] = {}
        self._resting: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled; then nothing is driven here any more, and another front may take over at once."""
        try:
            while True:
                try:
                    await self._look()
                except BROKER_ERRORS as error:
                    log.warning("work stands", extra={"action": "leader.failed", "reason": type(error).__name__})
                    if not self._lease.held:
                        await self._stop(list(self._tasks))
                await asyncio.sleep(INTERVAL_S)
        finally:
            await self._stop(list(self._tasks))
            await self._lease.release()

    async def _look(self) -> None:
        if not await self._lease.hold():
            await self._stop(list(self._tasks))
            return
        entries = [entry.decode() for entry in cast(list[bytes], await self._front.redis.zrange(keys.WORK, 0, -1))]
        for entry in entries:
            await self._tend_safely(entry)
        await self._stop([entry for entry in self._tasks if entry not in entries])

    async def _tend_safely(self, entry: str) -> None:
        """What one piece of work is broken by keeps no other from going on. Raises redis-py's errors and OSError."""
        try:
            await self._tend(entry)
        except BROKER_ERRORS:
            raise
        except Exception:  # it could not even be given up: a record that cannot be read
            log.exception("work cannot be tended", extra={"action": "work.broken", "work": entry})

    async def _tend(self, entry: str) -> None:
        name, _, work_id = entry.partition(":")
        kind = self._kinds.get(name)
        if kind is None or await kind.is_over(work_id):
            await self._stop([entry])
            if kind is not None:
                await kind.tidy_up(work_id)
            await self._front.redis.zrem(keys.WORK, entry)
        elif entry in self._tasks and self._tasks[entry].done():
            await self._judge(entry, kind, work_id)
        elif entry not in self._tasks and self._resting.get(entry, 0.0) <= time.monotonic():
            self._tasks[entry] = asyncio.create_task(kind.drive(work_id), name=entry)

    async def _judge(self, entry: str, kind: Kind, work_id: str) -> None:
        """A drive that ended, though its work is not over, is begun again; one that keeps crashing is not."""
        task = self._tasks.pop(entry)
        error = None if task.cancelled() else task.exception()
        self._resting[entry] = time.monotonic() + REST_S
        if error is None or isinstance(error, _MAY_PASS):
            log.warning("work rests", extra={"action": "work.rests", "work": entry, "reason": type(error).__name__})
            return
        self._crashes[entry] = self._crashes.get(entry, 0) + 1
        log.error("work crashed", exc_info=error, extra={"action": "work.crashed", "work": entry})
        if self._crashes[entry] >= MOST_CRASHES:
            await kind.give_up(work_id, f"something went wrong inside ({type(error).__name__}); the log says what")

    async def _stop(self, entries: list[str]) -> None:
        tasks = [task for entry in entries if (task := self._tasks.pop(entry, None)) is not None]
        await cancel.end(tasks)
        for entry in entries:
            self._crashes.pop(entry, None)
            self._resting.pop(entry, None)
