"""The router's eyes and memory: what is alive just now, and which queue answered a conversation before.

What is decided with it stands in `routing/decide.py`.
"""

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

    async def alive(self) -> frozenset[str]:
        """The physical queues with a live worker, as they were at most `FRESH_S` ago."""
        if self._clock() - self._seen_at_s >= FRESH_S:
            with broker_errors():
                workers = await self._registry.alive(list(self._profile.models))
            self._alive = frozenset(queue for queue, names in workers.items() if names)
            self._seen_at_s = self._clock()
        return self._alive

    def forget(self) -> None:
        """Looks anew when it is asked next."""
        self._seen_at_s = float("-inf")

    async def moment(self, member: str, conversation: Conversation) -> Moment:
        """As it is for this member's conversation."""
        return Moment(alive=await self.alive(), last=await self._last(member, conversation.asked_before))

    async def remember(self, member: str, conversation: Conversation, queue: str) -> None:
        """That this queue answers the conversation as it now stands."""
        with broker_errors():
            await self._redis.set(_key(member, conversation.asked), queue, ex=REMEMBERED_S)

    async def _last(self, member: str, said: list[str]) -> str | None:
        if not said:
            return None
        with broker_errors():
            queue = cast(bytes | None, await self._redis.get(_key(member, said)))
        return queue.decode() if queue else None


def _key(member: str, said: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in said:
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    return keys.route(member, digest.hexdigest())
