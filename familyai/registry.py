"""Which workers are alive: those that renewed their entry in time, by the broker's clock."""

from typing import cast

from redis.asyncio import Redis

from familyai import keys

HEARTBEAT_INTERVAL_S = 1.0
HEARTBEAT_TTL_S = 3.0

# KEYS: workers of the queue. ARGV: worker, TTL in s.
_BEAT = """
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] + now[2] / 1e6 + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now[1] - 3600))
return 1
"""

# KEYS: workers of each queue.
_ALIVE = """
local now = redis.call('TIME')
local alive = {}
for i, key in ipairs(KEYS) do
  alive[i] = redis.call('ZRANGEBYSCORE', key, '(' .. (now[1] + now[2] / 1e6), '+inf')
end
return alive
"""


class WorkerRegistry:
    """Raises redis-py's errors when the broker is gone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._beat = redis.register_script(_BEAT)
        self._alive = redis.register_script(_ALIVE)

    async def beat(self, queue: str, worker: str) -> None:
        """This worker lives for another `HEARTBEAT_TTL_S`."""
        await self._beat(keys=[keys.workers(queue)], args=[worker, HEARTBEAT_TTL_S])

    async def leave(self, queue: str, worker: str) -> None:
        await self._redis.zrem(keys.workers(queue), worker)

    async def alive(self, queues: list[str]) -> dict[str, set[str]]:
        """Live workers of each of these queues."""
        found = cast(list[list[bytes]], await self._alive(keys=[keys.workers(queue) for queue in queues]))
        return {queue: {worker.decode() for worker in workers} for queue, workers in zip(queues, found, strict=True)}
