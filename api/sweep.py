"""What nobody can ask for any more leaves the blob store: objects whose record expired, was deleted, or never was."""

import asyncio
import logging
from collections.abc import AsyncIterator

from redis.asyncio import Redis

from familyai import keys
from familyai.blobs import PART, BlobStore

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
AT_ONCE = 500


class Sweeper:
    """Looks at what nobody has written for `age_s`: younger objects may be about to get their record."""

    def __init__(self, blobs: BlobStore, redis: Redis, age_s: float) -> None:
        self._blobs = blobs
        self._redis = redis
        self._age_s = age_s

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            try:
                await self.sweep()
            except Exception as error:  # a store of another kind raises errors of its own; the next sweep may do better
                log.warning("stale blobs stay", extra={"action": "blobs.not_swept", "reason": str(error)})
            await asyncio.sleep(INTERVAL_S)

    async def sweep(self) -> int:
        """How many objects went. Raises redis-py's errors, and whatever the store raises."""
        swept = 0
        async for name in self._orphans():
            await self._blobs.delete(name)
            swept += 1
        if swept:
            log.info("stale blobs went", extra={"action": "blobs.swept", "count": swept})
        return swept

    async def _orphans(self) -> AsyncIterator[str]:
        names = await self._blobs.older_than(self._age_s)
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            for name, has_record in zip(some, await self._have_records(some), strict=True):
                if name.endswith(PART) or not has_record:
                    yield name

    async def _have_records(self, names: list[str]) -> list[bool]:
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.exists(keys.record_of_blob(name) or "")
        return [bool(found) for found in await pipe.execute()]
