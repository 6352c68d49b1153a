"""What nobody can ask for any more leaves the blob store: objects whose record expired, was deleted, or never was, and
what led to the results of work that is over."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator

from redis.asyncio import Redis

from familyai import keys
from familyai.batches import ENDED
from familyai.blobs import PART, BlobStore, owner
from familyai.transcription import OVER

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
AT_ONCE = 500
_SCRATCH = re.compile("(batches/[^/]+|transcriptions/[^/]+/pieces)/")


class Sweeper:
    """Looks at what nobody has written for `age_s`: what is younger, or beside that, may still get its record."""

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
        useless = [(name, whole) async for name, whole in self._useless()]
        for whole in {whole for _, whole in useless}:
            await self._blobs.delete(whole)
        if useless:
            log.info("stale blobs went", extra={"action": "blobs.swept", "count": len(useless)})
        return len(useless)

    async def _useless(self) -> AsyncIterator[tuple[str, str]]:
        """Objects, and what can be deleted with each: its folder, where all of that is useless."""
        names = await self._blobs.older_than(self._age_s)
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            for name, status in zip(some, await self._statuses(some), strict=True):
                if (whole := useless(name, status)) is not None:
                    yield name, whole

    async def _statuses(self, names: list[str]) -> list[str | None]:
        """That of each object's record; empty where it does not matter, None where there is no record."""
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            record = keys.record_of_blob(name) or ""
            if scratch(name):
                pipe.hget(record, "status")
            else:
                pipe.exists(record)
        found = await pipe.execute()
        return [answer.decode() if isinstance(answer, bytes) else "" if answer else None for answer in found]


def useless(name: str, status: str | None) -> str | None:
    """What can be deleted, for this object and others like it, if its record has this status; None: nothing."""
    folder = scratch(name)
    if status is None:
        return owner(name)
    if folder and (status in ENDED or status in OVER):
        return folder
    return name if name.endswith(PART) else None


def scratch(name: str) -> str | None:
    """The folder of what only leads to results, if the object is such; it is of no use once the work is over."""
    found = _SCRATCH.match(name)
    return found[1] if found else None
