"""Messages that nobody will acknowledge any more: their worker died, or lost its connection, while it had them.

kombu keeps a delivered message until it is acknowledged, and delivers it again when its visibility timeout is over. No
job here waits for that: a front takes it back and pushes another message (`api.watch`). So what is kept of a job that
has ended only takes room, and is thrown away.
"""

import asyncio
import json
import logging
import time
from typing import cast

from redis.asyncio import Redis

from familyai import keys
from familyai.broker import BROKER_ERRORS
from familyai.jobs import JobStore, State

log = logging.getLogger(__name__)

INTERVAL_S = 5.0
ENDING_S = 5.0
"""So long a message stays in any case: its worker is about to acknowledge it."""
AT_ONCE = 1000


class Leftovers:
    """Of one queue. Several of its workers may look at once."""

    def __init__(self, queue: str, redis: Redis, jobs: JobStore) -> None:
        names = keys.unacked(queue)
        self._messages, self._index = names["unacked_key"], names["unacked_index_key"]
        self._queue, self._redis, self._jobs = queue, redis, jobs

    async def run(self) -> None:
        """Looks now and then until cancelled, over restarts of the broker."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                if count := await self.sweep(time.time()):
                    extra = {"action": "messages.swept", "queue": self._queue, "count": count}
                    log.info("messages of ended jobs were left over", extra=extra)
            except BROKER_ERRORS as error:
                log.warning("a look failed", extra={"action": "leftovers.failed", "reason": type(error).__name__})

    async def sweep(self, now_s: float) -> int:
        """Throws away the messages of jobs that have ended, and returns how many. Raises BROKER_ERRORS."""
        before_s = now_s - ENDING_S
        found = await self._redis.zrangebyscore(self._index, "-inf", before_s, start=0, num=AT_ONCE)
        tags = [cast(bytes, tag) for tag in found]
        if not tags:
            return 0
        messages = cast(list[bytes | None], await self._redis.hmget(self._messages, tags))
        records = await self._jobs.records([_job_id(message) for message in messages])
        over = [
            tag for tag, record in zip(tags, records, strict=True) if record.state not in (State.QUEUED, State.RUNNING)
        ]
        if over:
            both = self._redis.pipeline(transaction=True)
            both.hdel(self._messages, *over)
            both.zrem(self._index, *over)
            await both.execute()
        return len(over)


def _job_id(message: bytes | None) -> str:
    """A message's task has its job's id; empty for what is no message of ours."""
    try:
        return str(json.loads(message or b"")[0]["headers"]["id"])
    except (ValueError, LookupError, TypeError):
        return ""
