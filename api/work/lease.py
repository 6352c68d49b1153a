"""Which front process drives the work: the one that holds the lease, until it lets go or no longer renews it."""

import time

from redis.asyncio import Redis

from familyai import keys

TTL_S = 6.0

# KEYS: leader. ARGV: front, TTL in ms.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS: leader. ARGV: front.
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Lease:
    """Raises redis-py's errors."""

    def __init__(self, redis: Redis, front_id: str) -> None:
        self._front_id = front_id
        self._until_s = 0.0
        self._hold = redis.register_script(_HOLD)
        self._release = redis.register_script(_RELEASE)

    @property
    def held(self) -> bool:
        """Whether no other can hold it now, as far as this process's clock tells."""
        return time.monotonic() < self._until_s

    async def hold(self) -> bool:
        """Takes or renews it; False while another holds it."""
        asked_s = time.monotonic()
        won = bool(await self._hold(keys=[keys.LEADER], args=[self._front_id, int(TTL_S * 1000)]))
        self._until_s = asked_s + TTL_S if won else 0.0
        return won

    async def release(self) -> None:
        """Another may hold it at once."""
        self._until_s = 0.0
        await self._release(keys=[keys.LEADER], args=[self._front_id])
