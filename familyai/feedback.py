"""What a household teaches its router: requests whose model a member marks as wrong.

While `learn` is on, what the router saw of a request is kept for a day, and for longer only where its member marks it.
Each member's newest are kept. Nothing is written for a member who was removed, and what there was goes with them.
"""

import time
from typing import Any, TypeVar, cast

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError
from familyai.kinds import Kind

KEPT_S = 24 * 3600
"""How long a request waits to be marked."""
MOST_ROUTED = 500
MOST_MARKED = 1_000
"""Of one member's."""


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose model the router chose. `request`: as `routing.kept` leaves it. `prefer`: what counted more."""

    job_id: str
    member: str
    path: str
    chosen: str
    queue: str
    request: dict[str, Any]
    prefer: str | None = None


class Marked(Routed, frozen=True, kw_only=True):
    """The same, whose model was wrong; `kind` would have been right, as far as the member said. `at_s`: Unix time."""

    at_s: float
    kind: Kind | None = None


_T = TypeVar("_T", bound=Routed)

# KEYS: members, record, the list of its member's. ARGV: member, job id, record, now, its life in seconds ('' for ever),
# how many of the newest stay, what records' names begin with.
_PUT = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
if ARGV[5] ~= '' then
  redis.call('EXPIRE', KEYS[2], ARGV[5])
  redis.call('EXPIRE', KEYS[3], ARGV[5])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. (ARGV[4] - ARGV[5]))
end
for _, old in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1 - ARGV[6])) do
  redis.call('DEL', ARGV[7] .. old)
  redis.call('ZREM', KEYS[3], old)
end
return 1
"""


class FeedbackStore:
    """Every method raises one of BROKER_ERRORS when the broker is gone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = redis.register_script(_PUT)

    async def remember(self, routed: Routed) -> None:
        """For a day, so that it can be marked."""
        about = [keys.MEMBERS, keys.routed(routed.job_id), keys.routed_jobs(routed.member)]
        bounds: list[Any] = [time.time(), KEPT_S, MOST_ROUTED, keys.routed("")]
        await self._script(about, [routed.member, routed.job_id, msgspec.json.encode(routed), *bounds])

    async def routed(self, job_id: str, member: str) -> Routed | None:
        """None for somebody else's, for one whose model was named, and for one of more than a day ago."""
        return _of(member, _decode(await self._redis.get(keys.routed(job_id)), Routed))

    async def mark(self, marked: Marked) -> None:
        """In place of the mark before, if there is one."""
        about = [keys.MEMBERS, keys.route_feedback(marked.job_id), keys.marked_jobs(marked.member)]
        bounds: list[Any] = [marked.at_s, "", MOST_MARKED, keys.route_feedback("")]
        await self._script(about, [marked.member, marked.job_id, msgspec.json.encode(marked), *bounds])

    async def marked(self, job_id: str, member: str | None) -> Marked | None:
        """None for somebody else's; `member` None: anybody's is theirs to see."""
        return _of(member, _decode(await self._redis.get(keys.route_feedback(job_id)), Marked))

    async def take_back(self, marked: Marked) -> None:
        """May be repeated."""
        await self._redis.delete(keys.route_feedback(marked.job_id))
        await self._redis.zrem(keys.marked_jobs(marked.member), marked.job_id)

    async def jobs(self, members: list[str]) -> list[str]:
        """The ids of what these members marked, newest first."""
        pipe = self._redis.pipeline(transaction=False)
        for member in members:
            pipe.zrange(keys.marked_jobs(member), 0, -1, withscores=True)
        listed = cast(list[list[tuple[bytes, float]]], await pipe.execute())
        marks = [mark for some in listed for mark in some]
        return [job_id.decode() for job_id, _ in sorted(marks, key=lambda mark: (-mark[1], mark[0]))]

    async def all(self, job_ids: list[str]) -> list[Marked]:
        """Those that are still there, in this order."""
        stored = await self._redis.mget([keys.route_feedback(job_id) for job_id in job_ids]) if job_ids else []
        return [marked for data in stored if (marked := _decode(data, Marked)) is not None]


def _of(member: str | None, found: _T | None) -> _T | None:
    return found if found is not None and member in (None, found.member) else None


def _decode(data: bytes | str | None, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(data, type=kind) if data else None
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a {kind.__name__}: {error}") from error
