"""Messages that killed workers had taken. kombu keeps them, and delivers them once more after six hours, to nobody:
their jobs have ended, or were pushed again long before (`api.watch`). So they are thrown away when that is so.
"""

import asyncio
import json
import logging
import time
from typing import Any, cast

from redis.asyncio import Redis

from familyai import keys
from familyai.broker import BROKER_ERRORS
from familyai.jobs import JobStore, State

log = logging.getLogger(__name__)

INTERVAL_S = 30.0
OLD_S = 30.0
AT_ONCE = 1000


class Leftovers:
    """Of one queue. Every worker of it does it; doing it twice changes nothing."""

    def __init__(self, queue: str, redis: Redis, jobs: JobStore) -> None:
        self._queue = queue
        self._redis = redis
        self._jobs = jobs
        names = keys.unacked(queue)
        self._messages, self._index = names["unacked_key"], names["unacked_index_key"]

    async def run(self) -> None:
        """Until cancelled. What the broker failed is done the next time."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.sweep()
            except BROKER_ERRORS as error:
                extra = {"action": "leftovers.kept", "reason": type(error).__name__}
                log.warning("messages of the dead stay", extra=extra)

    async def sweep(self) -> None:
        """Raises redis-py's errors."""
        before_s = time.time() - OLD_S
        tags = cast(list[bytes], await self._redis.zrangebyscore(self._index, "-inf", before_s, start=0, num=AT_ONCE))
        if not tags:
            return
        messages = cast(list[bytes | None], await self._redis.hmget(self._messages, tags))
        job_of = {tag: _job_of(message) for tag, message in zip(tags, messages, strict=True)}
        records = await self._jobs.records(list(job_of.values()))
        over = [
            tag
            for tag, record in zip(job_of, records, strict=True)
            if record.state not in (State.QUEUED, State.RUNNING)
        ]
        if over:
            await self._redis.hdel(self._messages, *over)
            await self._redis.zrem(self._index, *over)
            log.info("messages of the dead", extra={"action": "leftovers.dropped", "messages": len(over)})


def _job_of(message: bytes | None) -> str:
    """Celery's id of a message is the job's; nothing for what is no message of ours."""
    try:
        taken: Any = json.loads(message or b"null")
        return str(taken[0]["headers"]["id"])
    except (ValueError, TypeError, LookupError):
        return ""
