"""Frames on their way out: all that are ready together for one front process travel in one message."""

import asyncio
import logging
from collections.abc import Iterator

from redis.asyncio import Redis

from familyai import keys
from familyai.broker import BROKER_ERRORS
from familyai.frame import Body, Frame, encode_frames
from workers import metrics

log = logging.getLogger(__name__)

Pending = dict[str, list[Frame]]
MAX_MESSAGE_BYTES = 1_000_000
RETRY_S = 0.1
"""The broker is not asked more often while it is away."""


class Outbox:
    """Collects frames and publishes them as fast as the broker takes them; nothing waits for a timer.

    An idle outbox publishes a frame in the same turn of the loop. While a publish is under way, the next frames gather:
    under load the messages grow, not their number. Frames that cannot be published are dropped and counted; the front
    notices the gap in their numbers, and reads them in the job's log.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pending: Pending = {}
        self._ready = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, front: str, frame: Frame) -> None:
        self._pending.setdefault(front, []).append(frame)
        self._empty.clear()
        self._ready.set()

    async def run(self) -> None:
        """Publishes until cancelled."""
        while True:
            await self._ready.wait()
            await asyncio.sleep(0)  # let every stream that woke in this turn add its frame
            self._ready.clear()
            pending, self._pending = self._pending, {}
            await self._publish(pending)
            if not self._pending:
                self._empty.set()

    async def flushed(self) -> None:
        """Returns when everything put so far was published or dropped."""
        await self._empty.wait()

    async def _publish(self, pending: Pending) -> None:
        for front, frames in pending.items():
            for batch in batches(frames):
                await self._send(front, batch)

    async def _send(self, front: str, batch: tuple[Frame, ...]) -> None:
        try:
            await self._redis.publish(keys.reply(front), encode_frames(batch))
        except BROKER_ERRORS as error:
            metrics.frames_lost.inc(len(batch))
            reason = type(error).__name__
            log.warning("frames lost", extra={"action": "frames.lost", "frames": len(batch), "reason": reason})
            await asyncio.sleep(RETRY_S)
            return
        metrics.messages.inc()
        metrics.frames.inc(len(batch))


def batches(frames: list[Frame]) -> Iterator[tuple[Frame, ...]]:
    """All frames in one message, or in several of about `MAX_MESSAGE_BYTES`: a broker cuts off who is sent too much."""
    batch: list[Frame] = []
    size = 0
    for frame in frames:
        batch.append(frame)
        size += len(frame.data) if isinstance(frame, Body) else 0
        if size >= MAX_MESSAGE_BYTES:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)
