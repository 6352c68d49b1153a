"""What a job's engine answered, kept for a while: for clients that come back, and for fronts that missed some of it.

A stream in the broker. An entry holds frames in their order; its id is `{attempt}-{number of its last frame + 1}`, so
that a reader who has so many frames goes on after that very id, and the broker itself refuses what an attempt says once
the next one has spoken. Every attempt tells an answer from its first frame on.
"""

import time
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError
from familyai.frame import Frame, decode_frames, encode_frames

AT_ONCE = 200
"""So many entries are read of one log at a time: half a minute of an answer."""
_CUT = {"cut": 1}
_TOO_LATE = "equal or smaller than the target stream top item"


class Entry(msgspec.Struct, frozen=True):
    """Frames of one job, as they are stored; without any, it says that the log is given up."""

    job_id: str
    attempt: int
    end: int
    data: bytes = b""

    @property
    def id(self) -> str:
        return f"{self.attempt}-{self.end}"


class Logged(msgspec.Struct, frozen=True):
    """What a log says further. `is_cut`: no more of it is kept, for it was too long."""

    frames: tuple[Frame, ...] = ()
    is_cut: bool = False
    is_all: bool = True


def entry(frames: tuple[Frame, ...]) -> Entry:
    """At least one frame, of one attempt at one job."""
    last = frames[-1]
    return Entry(last.job_id, last.attempt, last.seq + 1, encode_frames(frames))


class JobLog:
    """Every method raises one of BROKER_ERRORS when the broker is gone."""

    def __init__(self, redis: Redis, kept_s: float) -> None:
        """`kept_s`: how long a log stays after it was last written."""
        self._redis = redis
        self._kept_ms = int(kept_s * 1000)

    async def append(self, entries: list[Entry]) -> None:
        """What a log has already, or a later attempt's log, is left out. Raises redis-py's OutOfMemoryError, too."""
        if not entries:
            return
        pipe = self._redis.pipeline(transaction=False)
        for one in entries:
            pipe.xadd(keys.log(one.job_id), cast(Any, {"frames": one.data} if one.data else _CUT), id=one.id)
            pipe.pexpire(keys.log(one.job_id), self._kept_ms)
        pipe.zadd(keys.LOGS, {one.job_id: time.time() + self._kept_ms / 1000 for one in entries})
        for result in await pipe.execute(raise_on_error=False):
            if isinstance(result, Exception) and _TOO_LATE not in str(result):
                raise result

    async def give_up(self, one: Entry) -> None:
        """The answer is too long to be kept: what is here of it goes, and the log says so."""
        await self._redis.delete(keys.log(one.job_id))
        await self.append([one])

    async def forget_gone(self) -> None:
        """Logs that are no more are listed no more."""
        await self._redis.zremrangebyscore(keys.LOGS, "-inf", time.time())

    async def forget_all(self) -> None:
        """Nothing of any answer stays."""
        listed = cast(list[bytes], await self._redis.zrange(keys.LOGS, 0, -1))
        await self._redis.delete(keys.LOGS, *(keys.log(job_id.decode()) for job_id in listed))

    async def ends(self, job_ids: list[str]) -> list[tuple[int, int]]:
        """How far each log goes: attempt, number of frames; (0, 0) for one that is not there."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.xrevrange(keys.log(job_id), count=1)
        return [_end(found) for found in await pipe.execute()]

    async def read(self, after: dict[str, str]) -> dict[str, Logged]:
        """What each of these jobs' logs says after this id. Nothing for one that says nothing."""
        found: Any = await self._redis.xread({keys.log(job_id): last for job_id, last in after.items()}, count=AT_ONCE)
        streams = found.items() if isinstance(found, dict) else found
        by_name = {name.decode(): values[0] if isinstance(found, dict) else values for name, values in streams}
        return {job_id: _logged(by_name[name]) for job_id in after if (name := keys.log(job_id)) in by_name}

    async def exists(self, job_id: str) -> bool:
        return bool(await self._redis.exists(keys.log(job_id)))


def _end(found: Any) -> tuple[int, int]:
    if not found:
        return 0, 0
    attempt, _, count = cast(bytes, found[0][0]).partition(b"-")
    return int(attempt), int(count)


def _logged(entries: Any) -> Logged:
    frames: list[Frame] = []
    is_cut = any(b"cut" in fields for _, fields in entries)
    try:
        for _, fields in entries:
            frames += decode_frames(fields[b"frames"]) if b"frames" in fields else ()
    except DecodeError:  # another version wrote it
        is_cut = True
    return Logged(tuple(frames), is_cut, is_all=len(entries) < AT_ONCE)
