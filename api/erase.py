"""What is over leaves the broker's disk, too."""

import asyncio

from redis.asyncio import Redis

from familyai import append_only, keys
from familyai.broker import BROKER_ERRORS
from familyai.job_log import JobLog

RETRY_S = 60.0


class Eraser:
    """Has the broker write its append-only file anew every `every_s`.

    Every front does it, and looks first whether another has; should two ask at once, the broker refuses the second.
    """

    def __init__(self, redis: Redis, every_s: float) -> None:
        self._redis = redis
        self._every_s = every_s

    async def run(self) -> None:
        """Until cancelled. What the broker failed is tried again."""
        while True:
            try:
                wait_s = await self.erase()
            except BROKER_ERRORS as error:
                append_only.warn(type(error).__name__)
                wait_s = min(self._every_s, RETRY_S)
            await asyncio.sleep(wait_s)

    async def erase(self) -> float:
        """Begins a rewriting if none began for `every_s`; in how many seconds the next is due.

        Raises redis-py's errors.
        """
        left_ms = await self._redis.pttl(keys.REWRITTEN)
        if left_ms > 0:
            return float(left_ms) / 1000
        await JobLog(self._redis, kept_s=0).forget_gone()
        await append_only.rewrite(self._redis)
        await self._redis.set(keys.REWRITTEN, 1, px=int(self._every_s * 1000))
        return self._every_s
