"""Which workers and fronts are alive: those that renewed their entry in time, by the broker's clock."""

from typing import cast

from redis.asyncio import Redis

from familyai import keys

HEARTBEAT_INTERVAL_S = 1.0
HEARTBEAT_TTL_S = 3.0
FRONT_TTL_S = 5.0
"""Longer than a worker's: what a dead front leaves behind is withdrawn for good, not done by another."""
FRONT_LATE_S = 3.0
"""Whose last beat was longer ago was away itself, and cannot tell who else was."""

# Beats begin with what frees memory: then they are heard by a broker that is full, too, which refuses a script only at
# its first write (valkey.io/topics/eval-intro).
# KEYS: workers of the queue. ARGV: worker, TTL in s.
_BEAT = """
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now[1] - 3600))
redis.call('ZADD', KEYS[1], now[1] + now[2] / 1e6 + ARGV[2], ARGV[1])
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

# KEYS: fronts. ARGV: front, TTL in s, after how many s its beat is late. In one step, for while the broker stood still
# everybody was late: whoever beats first afterwards must not take the others for dead.
_BEAT_OF_FRONT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local until_s = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if not until_s or now - (until_s - ARGV[2]) > tonumber(ARGV[3]) then return false end
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)
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


class FrontRegistry:
    """Who has not left is listed until somebody has cleared up after it. Raises redis-py's errors."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._beat = redis.register_script(_BEAT_OF_FRONT)

    async def beat(self, front: str) -> list[str] | None:
        """This front lives for another `FRONT_TTL_S`. Returns the dead ones; None where its own beat came late."""
        found = cast(list[bytes] | None, await self._beat([keys.FRONTS], [front, FRONT_TTL_S, FRONT_LATE_S]))
        return None if found is None else [other.decode() for other in found]

    async def leave(self, front: str) -> None:
        """Nothing of it is left to be cleared up."""
        await self._redis.zrem(keys.FRONTS, front)
