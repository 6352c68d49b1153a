"""Answers read in their jobs' logs: where frames were missed on their way, and where nobody sends them."""

import asyncio
import logging

from api.replies import AT_ONCE_BYTES, Reply
from familyai.broker import BROKER_ERRORS
from familyai.job_log import JobLog, Logged

log = logging.getLogger(__name__)

INTERVAL_S = 0.1
RETRY_S = 0.5


class Followers:
    """Replies that are fed from logs, all with one question a time. Who reads slowly is fed slowly."""

    def __init__(self, logs: JobLog) -> None:
        self._logs = logs
        self._replies: set[Reply] = set()
        self._news = asyncio.Event()

    def add(self, reply: Reply) -> None:
        """From now on, until it has ended or is dropped. May be repeated."""
        if reply not in self._replies:
            log.info("an answer is read in its log", extra={"action": "reply.followed", "job": reply.job_id})
            self._replies.add(reply)
            self._news.set()

    def drop(self, reply: Reply) -> None:
        self._replies.discard(reply)

    async def run(self) -> None:
        """Reads until cancelled, over restarts of the broker."""
        while True:
            await self._news.wait()
            try:
                await asyncio.sleep(INTERVAL_S if await self.look() else 0)
            except BROKER_ERRORS:
                await asyncio.sleep(RETRY_S)

    async def look(self) -> bool:
        """Whether that was all there is for now. Raises one of BROKER_ERRORS."""
        self._replies = {reply for reply in self._replies if not reply.is_over}
        if not self._replies:
            self._news.clear()
            return True
        hungry = [reply for reply in self._replies if reply.unread_bytes < AT_ONCE_BYTES]
        found = await self._read(hungry) if hungry else {}
        for reply in hungry:
            if (logged := found.get(reply.job_id)) is not None:
                reply.hear(logged)
        return all(logged.is_all for logged in found.values())

    async def catch_up(self, reply: Reply) -> None:
        """What the log has and the reply has not, as far as it goes. Raises one of BROKER_ERRORS."""
        before = None
        while reply.position != before:
            before = reply.position
            for frame in (await self._read([reply])).get(reply.job_id, Logged()).frames:
                reply.put(frame)

    async def _read(self, replies: list[Reply]) -> dict[str, Logged]:
        """Several may follow one job: who is furthest behind says from where."""
        after: dict[str, tuple[int, int]] = {}
        for reply in replies:
            after[reply.job_id] = min(after.get(reply.job_id, reply.position), reply.position)
        return await self._logs.read({job_id: f"{attempt}-{count}" for job_id, (attempt, count) in after.items()})
