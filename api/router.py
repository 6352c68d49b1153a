"""The router's eyes and memory: what is alive just now, and which queue answered a conversation before.

What is decided with it stands in `routing/decide.py`.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import cast

from redis.asyncio import Redis

from api.broker import broker_errors
from familyai import keys
from familyai.catalogue import Profile
from familyai.registry import WorkerRegistry
from routing.conversation import Conversation
from routing.place import Moment

FRESH_S = 1.0
"""As often as workers say that they live."""
REMEMBERED_S = 3600
"""A conversation that rests for longer has no warm cache to come back to."""


class Router:
    """Every method raises Unavailable when the broker is gone."""

    def __init__(
        self,
        redis: Redis,
        registry: WorkerRegistry,
        profile: Profile,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._registry = registry
        self._profile = profile
        self._clock = clock
        self._alive: frozenset[str] = frozenset()
        self._seen_at_s = float("-inf")
        self._look: asyncio.Task[None] | None = None

    async def alive(self) -> frozenset[str]:
        """The physical queues with a live worker, as they were at most `FRESH_S` ago."""
        if self._clock() - self._seen_at_s >= FRESH_S:
            if self._look is None:
                self._look = asyncio.create_task(self._looked())
                self._look.add_done_callback(self._end_look)
            with broker_errors():
                await asyncio.shield(self._look)  # for all who ask meanwhile
        return self._alive

    def forget(self) -> None:
        """Looks anew when it is asked next."""
        self._seen_at_s = float("-inf")

    async def moment(self, member: str, talk: str) -> Moment:
        """As it is for this member's conversation. `talk`: before what is asked now."""
        return Moment(alive=await self.alive(), last=await self._last(member, talk))

    async def remember(self, member: str, talk: str, queue: str) -> None:
        """That this queue answers the conversation as it now stands."""
        with broker_errors():
            await self._redis.set(keys.route(member, talk), queue, ex=REMEMBERED_S)

    async def _looked(self) -> None:
        """Raises one of BROKER_ERRORS."""
        workers = await self._registry.alive(list(self._profile.models))
        self._alive = frozenset(queue for queue, names in workers.items() if names)
        self._seen_at_s = self._clock()

    def _end_look(self, look: asyncio.Task[None]) -> None:
        self._look = None
        if not look.cancelled():
            look.exception()  # asked for, so that nobody logs it when all who waited have left

    async def _last(self, member: str, talk: str) -> str | None:
        if not talk:
            return None
        with broker_errors():
            queue = cast(bytes | None, await self._redis.get(keys.route(member, talk)))
        return queue.decode() if queue else None


def talk_now(conversation: Conversation) -> str:
    """What a conversation is known by: a digest of all that its user said."""
    return _digest(conversation.asked)


def talk_before(conversation: Conversation) -> str:
    """The same as it was when it was answered last; empty, where it was not."""
    said = conversation.asked_before
    return _digest(said) if said else ""


def _digest(said: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in said:
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()
