"""How much each member used in the last minute and the last day: sliding windows of the `limits` library, in Redis.

A window is counted in two halves: what was used in the current length of time, and what was used in the one before,
which counts the less the longer ago it ended. Its key names the window and whose it is but no amount, so that a parent
may change a limit and what was used stays used. Members are told apart as their names are stored: `Leo` is nobody else
than `leo`, and whoever looks a member up has found the one spelling.

A window forgets everything after two of its lengths, however far over its limit it stood. So a limit holds only where
what is charged was asked for before, but for a guess that was a little too small: see docs/adr/0016.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from limits.aio.storage import RedisStorage
from redis.asyncio import Redis

UNBOUNDED = 2**53
"""More than any window holds; Lua counts exactly up to here."""


@dataclass(frozen=True)
class Window:
    """A limit by its name in `familyai.allowance`, and over which time it goes."""

    name: str
    length_s: int


REQUESTS_PER_MINUTE = Window("requests_per_minute", 60)
TOKENS_PER_MINUTE = Window("tokens_per_minute", 60)
TOKENS_PER_DAY = Window("tokens_per_day", 24 * 3600)
STRANGERS_PER_MINUTE = Window("strangers_per_minute", 60)
TOKEN_WINDOWS = (TOKENS_PER_MINUTE, TOKENS_PER_DAY)


@dataclass(frozen=True)
class Level:
    """What stands in a window. Times are whole milliseconds, as the broker counts them."""

    length_ms: int
    previous: int = 0
    previous_ttl_ms: int = 0
    current: int = 0
    current_ttl_ms: int = 0

    @property
    def used(self) -> int:
        """The sliding window counter: the current count, and of the one before the share that the window still covers.

        Source: https://blog.cloudflare.com/counting-things-a-lot-of-different-things, as `limits` rounds it.
        """
        return self.previous * self.previous_ttl_ms // self.length_ms + self.current

    def plus(self, amount: int) -> "Level":
        """With so much more, used now."""
        return replace(self, current=self.current + amount, current_ttl_ms=self.current_ttl_ms or 2 * self.length_ms)

    def fits_in_s(self, amount: int, most: int) -> float:
        """After how long so much more fits under the limit, when nothing else comes: 0 for now.

        What is larger than the limit fits when the window is empty.
        """
        room = max(0, most - amount)
        if self.used <= room:
            return 0.0
        if self.current <= room:
            return (self.previous_ttl_ms - self._shown(room - self.current, self.previous)) / 1000
        return (self.current_ttl_ms - self._shown(room, self.current)) / 1000

    def _shown(self, room: int, count: int) -> int:
        """How many milliseconds of a count that has become the previous one may be left of it, for no more than `room`
        to be used: the most of which count * left // length <= room. It expires when none is left."""
        return ((room + 1) * self.length_ms - 1) // count


class Windows:
    """Every method raises one of BROKER_ERRORS when the broker is gone. A command that a broken connection repeats
    counts twice."""

    def __init__(self, redis: Redis) -> None:
        pool: Any = redis.connection_pool
        self._storage = RedisStorage("redis://", implementation="redispy", connection_pool=pool)

    async def hit(self, window: Window, who: str, amount: int, most: int) -> float | None:
        """Counts it and returns None where it fits; else counts nothing and returns after how many seconds it would.

        What is larger than the limit is let into an empty window, which then owes the rest, for two lengths at most.
        """
        fitting = min(amount, most)
        if await self._acquire(window, who, fitting, most):
            await self.charge_window(window, who, amount - fitting)
            return None
        level = await self.level(window, who)
        return max(0.001, level.fits_in_s(amount, most))

    async def level(self, window: Window, who: str) -> Level:
        """What stands in one window."""
        found = await self._storage.get_sliding_window(_key(window, who), window.length_s)
        previous, previous_ttl_s, current, current_ttl_s = found
        return Level(
            window.length_s * 1000, previous, round(previous_ttl_s * 1000), current, round(current_ttl_s * 1000)
        )

    async def charge(self, member: str, tokens: int) -> None:
        """Counts a job's tokens in every window of tokens, over the limit too: that is owed until it has faded."""
        await asyncio.gather(*(self.charge_window(window, member, tokens) for window in TOKEN_WINDOWS))

    async def charge_window(self, window: Window, who: str, amount: int) -> None:
        """Counts it whatever the limit. Less than nothing is given back."""
        if amount:
            await self._acquire(window, who, amount, UNBOUNDED)

    async def _acquire(self, window: Window, who: str, amount: int, most: int) -> bool:
        return await self._storage.acquire_sliding_window_entry(_key(window, who), most, window.length_s, amount)


def _key(window: Window, who: str) -> str:
    return f"familyai/{window.name}/{who}"
