"""What happens to a transcription job, as server-sent events: replayed from any point, then followed to its end."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from api.transcription_object import TERMINAL
from familyai import keys
from familyai.broker import BROKER_ERRORS, connect_pubsub
from familyai.errors import BadRequest
from familyai.transcription import OVER

BLOCK_S = 2.0
"""How long one question to the broker waits for an answer; below its socket's patience."""
HEARTBEAT_S = 15.0
RETRY_S = 0.5
AT_ONCE = 100
BEGINNING = "0-0"
HEARTBEAT = b": still there\n"
_EVENT_ID = re.compile(r"(\d{1,20})-(\d{1,20})")
_LARGEST = 2**64 - 1
"""In each half of an id; beyond it the broker would refuse every question, and the stream never end."""
_ENDS = frozenset(TERMINAL.values())


@dataclass(frozen=True)
class _Entry:
    id: str
    type: str
    data: bytes

    def encode(self) -> bytes:
        return f"id: {self.id}\nevent: {self.type}\n".encode() + b"data: " + self.data + b"\n\n"


def after(last_event_id: str | None) -> str:
    """From where a client goes on. Raises BadRequest for what is no event's id."""
    if not last_event_id:
        return BEGINNING
    halves = _EVENT_ID.fullmatch(last_event_id)
    if halves is None or max(map(int, halves.groups())) > _LARGEST:
        raise BadRequest("this is no event's id", param="Last-Event-ID", code="invalid_value")
    return last_event_id


async def events(url: str, job_id: str, last_id: str, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    """A job's events after this one, up to its end, over restarts of the broker; comments while nothing happens.

    Ends also when the job is deleted, and when this front stops: a client then comes again with the last id it saw. It
    has a connection of its own, since it blocks it.
    """
    redis = connect_pubsub(url)
    heard_at_s = time.monotonic()
    try:
        while not stopping.is_set():
            entries, is_over = await _next(redis, job_id, last_id)
            for entry in entries:
                yield entry.encode()
                last_id, heard_at_s = entry.id, time.monotonic()
                if entry.type in _ENDS:
                    return
            if is_over and not entries:
                return
            if time.monotonic() - heard_at_s >= HEARTBEAT_S:
                yield HEARTBEAT
                heard_at_s = time.monotonic()
    finally:
        await redis.aclose()


async def _next(redis: Redis, job_id: str, last_id: str) -> tuple[list[_Entry], bool]:
    """What came after this event, and whether nothing more will."""
    try:
        if entries := await _read(redis, job_id, last_id, block_s=BLOCK_S):
            return entries, False
        status = await redis.hget(keys.transcription(job_id), "status")
        if status is not None and cast(bytes, status).decode() not in OVER:
            return [], False
        return await _read(redis, job_id, last_id), True  # it may have ended between the two questions
    except BROKER_ERRORS:
        await asyncio.sleep(RETRY_S)
        return [], False


async def _read(redis: Redis, job_id: str, last_id: str, block_s: float | None = None) -> list[_Entry]:
    name = keys.transcription_events(job_id)
    block_ms = int(block_s * 1000) if block_s else None
    found: Any = await redis.xread({name: last_id}, count=AT_ONCE, block=block_ms)
    entries = next(iter(found.values()))[0] if isinstance(found, dict) else found[0][1] if found else []
    return [_Entry(entry_id.decode(), fields[b"type"].decode(), fields[b"data"]) for entry_id, fields in entries]
