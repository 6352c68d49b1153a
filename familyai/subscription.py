"""One broker channel, held open over restarts of the broker."""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from redis.asyncio.client import PubSub

from familyai.broker import BROKER_ERRORS, connect_pubsub

log = logging.getLogger(__name__)

FIRST_DELAY_S, LAST_DELAY_S = 0.1, 1.0
QUIET_S = 5.0
"""After this much silence the broker is asked whether it is there; it has as long again to answer."""


class Subscription:
    """Hears every message on a channel while connected; says when the connection is lost, and comes back by itself.

    What is published while it is lost never arrives: the owner decides in `on_lost` what that means. `on_message` and
    `on_lost` run on the loop and must not block. Cancelling `run` ends it.
    """

    def __init__(
        self, url: str, channel: str, on_message: Callable[[bytes], None], on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self._url = url
        self._channel = channel
        self._on_message = on_message
        self._on_lost = on_lost
        self.connected = asyncio.Event()
        self.lost_at_s = -math.inf
        """When the connection broke, by the monotonic clock."""

    async def run(self) -> None:
        """Subscribes, listens, and starts over when the broker goes away, after 0.1 s at first and 1 s at most."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                await self._listen()
            except BROKER_ERRORS as error:
                log.warning("subscription lost", extra={"action": "subscription.lost", "reason": type(error).__name__})
            delay_s = FIRST_DELAY_S if self.connected.is_set() else min(LAST_DELAY_S, delay_s * 2)
            self._lost()
            await asyncio.sleep(delay_s)

    async def _listen(self) -> None:
        redis = connect_pubsub(self._url)
        pubsub = redis.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            await self._deliver(pubsub)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
            await redis.aclose()

    async def _deliver(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            message = await pubsub.get_message(timeout=QUIET_S)
            if message is None:
                if asked:
                    raise TimeoutError("the broker is silent")
                await pubsub.ping()
            elif message["type"] == "message":
                self._on_message(message["data"])
            elif message["type"] == "subscribe":
                self._subscribed()
            asked = message is None

    def _subscribed(self) -> None:
        if self.connected.is_set():  # redis-py reconnected behind our back: messages may be missing
            raise ConnectionResetError("the subscription was renewed")
        self.connected.set()

    def _lost(self) -> None:
        if self.connected.is_set():
            self.connected.clear()
            self.lost_at_s = time.monotonic()
            self._on_lost()
