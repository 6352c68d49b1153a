"""Messages that killed workers had taken. kombu keeps them, and delivers them once more after six hours, by when nobody
waits for them. So they are thrown away: their jobs run or ran, or another message is pushed for those that wait.

`api.watch` does so, too, and sooner, where a job waits in an empty lane; this is for lanes that never empty.
"""

import asyncio
import json
import logging
import time
from typing import Any, cast

from redis.asyncio import Redis

from familyai import keys
from familyai.broker import BROKER_ERRORS
from familyai.errors import DecodeError
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
        jobs = [_job_of(message) for message in messages]
        states = [record.state for record in await self._jobs.records(jobs)]
        for job_id in {job_id for job_id, state in zip(jobs, states, strict=True) if state is State.QUEUED}:
            await self._push_again(job_id)
        over = [tag for tag, state in zip(tags, states, strict=True) if state is not State.RUNNING]
        if over:
            await self._redis.hdel(self._messages, *over)
            await self._redis.zrem(self._index, *over)
            log.info("messages of the dead", extra={"action": "leftovers.dropped", "messages": len(over)})

    async def _push_again(self, job_id: str) -> None:
        """At the head of its lane: it was its turn. Whoever took it may live after all; it is claimed once."""
        try:
            await self._jobs.push_again(job_id, at_head=True)
        except DecodeError:
            log.error("job unreadable", extra={"action": "job.unreadable", "job": job_id})


def _job_of(message: bytes | None) -> str:
    """Celery's id of a message is the job's; nothing for what is no message of ours."""
    try:
        taken: Any = json.loads(message or b"null")
        return str(taken[0]["headers"]["id"])
    except (ValueError, TypeError, LookupError):
        return ""
