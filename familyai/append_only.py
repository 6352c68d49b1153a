"""The broker's append-only file keeps every write, until it is written anew with what the broker still knows.

What was deleted before a rewriting begins is in no file once it has ended.
"""

import asyncio
import logging

from redis.asyncio import Redis

log = logging.getLogger(__name__)

_POLL_S = 0.05


async def rewrite(redis: Redis) -> None:
    """Begins a rewriting, where the broker writes such a file at all.

    Raises redis-py's errors, also when one goes on already.
    """
    about = await redis.info("persistence")
    if not about["aof_enabled"]:  # asked all the same, the broker would begin to write one
        return
    if about["aof_last_bgrewrite_status"] != "ok":
        warn("the last rewriting failed")
    await redis.bgrewriteaof()


async def rewritten(redis: Redis) -> None:
    """A whole rewriting, from its begin to its end. Raises redis-py's errors."""
    await _none_goes_on(redis)
    await rewrite(redis)
    await _none_goes_on(redis)


def warn(reason: str) -> None:
    """That a promise is not kept."""
    log.warning("what is over stays in the append-only file", extra={"action": "broker.not_erased", "reason": reason})


async def _none_goes_on(redis: Redis) -> None:
    while (about := await redis.info("persistence"))["aof_rewrite_in_progress"] or about["aof_rewrite_scheduled"]:  # noqa: ASYNC110 (the broker tells nobody)
        await asyncio.sleep(_POLL_S)
