"""Time that passes without waiting for it."""

from redis.asyncio import Redis


async def pass_time(redis: Redis, seconds: float) -> None:
    """For windows of limits, as if so much time went by: they are so much nearer to their end."""
    for key in await redis.keys("LIMITS:*"):
        left_ms = await redis.pttl(key) - round(seconds * 1000)
        await (redis.pexpire(key, left_ms) if left_ms > 0 else redis.delete(key))
