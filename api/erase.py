"""What is over leaves the broker's disk, too: its append-only file keeps every write until it is written anew."""

import asyncio
import logging

from redis.asyncio import Redis

from familyai import keys
from familyai.broker import BROKER_ERRORS

log = logging.getLogger(__name__)

RETRY_S = 60.0


class Eraser:
    """Has the broker write its append-only file anew every `every_s`.

    What was deleted before a rewriting begins is in no file once it has ended. Every front does it, and looks first
    whether another has; should two ask at once, the broker refuses the second.
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
                _warn(type(error).__name__)
                wait_s = min(self._every_s, RETRY_S)
            await asyncio.sleep(wait_s)

    async def erase(self) -> float:
        """Asks for a rewriting if none began for `every_s`; in how many seconds the next is due.

        Raises redis-py's errors.
        """
        left_ms = await self._redis.pttl(keys.REWRITTEN)
        if left_ms > 0:
            return float(left_ms) / 1000
        await self._rewrite()
        await self._redis.set(keys.REWRITTEN, 1, px=int(self._every_s * 1000))
        return self._every_s

    async def _rewrite(self) -> None:
        about = await self._redis.info("persistence")
        if not about["aof_enabled"]:  # asked all the same, the broker would begin to write one
            return
        if about["aof_last_bgrewrite_status"] != "ok":
            _warn("the last rewriting failed")
        await self._redis.bgrewriteaof()


def _warn(reason: str) -> None:
    log.warning("what is over stays in the append-only file", extra={"action": "broker.not_erased", "reason": reason})
