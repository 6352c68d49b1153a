"""Transcription jobs as the broker keeps them, and each step of theirs as one atomic script.

`queued → running → completed | failed`, or `cancelled` before that. One drive at a time writes: it takes the job under
a token, and what an earlier one still sends is refused. Every script may be repeated with the same arguments: the
second time changes nothing, and adds no event.

Fields of the record: `order`, `status`, `run` and `step` (who writes, and the last write), `started_at_s`,
`ended_at_s`, `expires_at_s`, `pace`, `error`, `webhook`, and by its number each recording's state once it has one.
"""

from collections.abc import Sequence
from typing import cast

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import NotFound
from familyai.transcription import Event, Order, Outcome, Record, Status, decode

SAFETY_TTL_S = 30 * 86_400.0
"""How long the record of a job outlives the last step that anybody made on it."""
MOST_EVENTS = 2000
KIND, WEBHOOK = "transcription", "webhook"
"""Entries of `familyai:work`: the job itself, and the call at its end."""

# KEYS: record, the member's jobs, work. ARGV: id, order, now, TTL in ms, entry.
_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'order', ARGV[2], 'status', 'queued')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[5])
return 1
"""

_ADD_EVENT = f"redis.call('XADD', KEYS[2], 'MAXLEN', '~', {MOST_EVENTS}, '*', 'type', ARGV[1], 'data', ARGV[2])\n"

# KEYS: record, events. ARGV: event's type and data, run, now, TTL in ms.
_TAKE = f"""
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'status', 'running', 'run', ARGV[3])
redis.call('HSETNX', KEYS[1], 'started_at_s', ARGV[4])
if status == 'queued' then {_ADD_EVENT} end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
"""

# KEYS: record, events. ARGV: event's type (or nothing) and data, run, step, TTL in ms, then fields and values.
_ADVANCE = f"""
local now = redis.call('HMGET', KEYS[1], 'status', 'run', 'step')
if now[1] ~= 'running' or now[2] ~= ARGV[3] then return 0 end
if now[3] == ARGV[4] then return 1 end
redis.call('HSET', KEYS[1], 'step', ARGV[4], unpack(ARGV, 6))
if ARGV[1] ~= '' then {_ADD_EVENT} end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
"""

# KEYS: record, events, work. ARGV: event's type and data, run (or nothing: whoever writes), status, ended at, expires
# at, TTL in ms, error (or nothing), webhook's entry (or nothing). Returns the status it has then.
_END = f"""
local now = redis.call('HMGET', KEYS[1], 'status', 'run')
if now[1] ~= 'queued' and now[1] ~= 'running' then return now[1] end
if ARGV[3] ~= '' and now[2] ~= ARGV[3] then return now[1] end
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'ended_at_s', ARGV[5], 'expires_at_s', ARGV[6], 'error', ARGV[8])
{_ADD_EVENT}
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
if ARGV[9] ~= '' then redis.call('ZADD', KEYS[3], ARGV[5], ARGV[9]) end
return ARGV[4]
"""

# KEYS: record, events, the member's jobs. ARGV: id.
_DELETE = """
redis.call('DEL', KEYS[1], KEYS[2])
return redis.call('ZREM', KEYS[3], ARGV[1])
"""

# KEYS: record. ARGV: outcome.
_NOTE_WEBHOOK = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'webhook', ARGV[1])
return 1
"""


class Superseded(Exception):
    """Another drive has taken the job, or it is over: this one has nothing to write any more."""


class TranscriptionStore:
    """Everybody sees their own jobs only. Raises redis-py's errors when the broker is gone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        scripts = (_CREATE, _TAKE, _ADVANCE, _END, _DELETE, _NOTE_WEBHOOK)
        registered = [redis.register_script(script) for script in scripts]
        self._create, self._take, self._advance, self._end, self._delete, self._note = registered

    async def create(self, order: Order) -> None:
        """The job, its place on the member's list, and the work that it is: all of it happens, or none."""
        args: list[str | bytes | float] = [
            order.id,
            msgspec.json.encode(order),
            order.created_at_s,
            _ms(SAFETY_TTL_S),
            f"{KIND}:{order.id}",
        ]
        job, listed = keys.transcription(order.id), keys.transcriptions(order.member)
        await self._create(keys=[job, listed, keys.WORK], args=args)

    async def get(self, transcription_id: str, member: str) -> Record:
        """Raises NotFound, for other people's jobs too."""
        record = await self.find(transcription_id)
        if record is None or record.order.member != member:
            shown = transcription_id[:64]
            raise NotFound(f"there is no transcription job '{shown}'", param="id", code="transcription_job_not_found")
        return record

    async def find(self, transcription_id: str) -> Record | None:
        """Whosever it is. Raises DecodeError."""
        fields = await self._redis.hgetall(keys.transcription(transcription_id))
        return decode(cast(dict[bytes, bytes], fields))

    async def status(self, transcription_id: str) -> Status | None:
        """None: it expired, was deleted, or never was."""
        status = cast(bytes | None, await self._redis.hget(keys.transcription(transcription_id), "status"))
        return cast(Status, status.decode()) if status else None

    async def ids(self, member: str) -> list[str]:
        """Newest first."""
        found = await self._redis.zrange(keys.transcriptions(member), 0, -1, desc=True)
        return [entry.decode() for entry in cast(list[bytes], found)]

    async def records(self, member: str, ids: Sequence[str]) -> list[Record]:
        """Those that are still there; the others leave the member's list."""
        pipe = self._redis.pipeline(transaction=False)
        for transcription_id in ids:
            pipe.hgetall(keys.transcription(transcription_id))
        stored = await pipe.execute() if ids else []
        if gone := [name for name, fields in zip(ids, stored, strict=True) if not fields]:
            await self._redis.zrem(keys.transcriptions(member), *gone)
        return [record for fields in stored if (record := decode(fields)) is not None]

    async def take(self, transcription_id: str, run: str, event: Event, now_s: float) -> bool:
        """From now on only this run may write; the event is that of a job's first run. False when it is over."""
        args: list[str | bytes | float] = [event.type, event.data, run, now_s, _ms(SAFETY_TTL_S)]
        return bool(await self._take(keys=_keys(transcription_id), args=args))

    async def advance(
        self, transcription_id: str, run: str, step: int, changes: dict[str, bytes], event: Event | None = None
    ) -> None:
        """Writes fields, and the event with them. Raises Superseded."""
        told = event or Event("", b"")
        fields = [part for change in changes.items() for part in change]
        args: list[str | bytes | int] = [told.type, told.data, run, step, _ms(SAFETY_TTL_S), *fields]
        if not await self._advance(keys=_keys(transcription_id), args=args):
            raise Superseded(transcription_id)

    async def end(self, record: Record, event: Event, run: str = "") -> Status | None:
        """Ends the job as `record` says, unless it has ended already; the status it has then. With a `run`, only as
        long as that one may write. What it held expires with it, and whoever wished it is called."""
        now_s, expires_at_s = record.ended_at_s or 0.0, record.expires_at_s or 0.0
        args: list[str | bytes | float] = [
            *(event.type, event.data, run, record.status),
            *(now_s, expires_at_s, _ms(expires_at_s - now_s)),
            msgspec.json.encode(record.error) if record.error else b"",
            f"{WEBHOOK}:{record.id}" if record.order.webhook_url else "",
        ]
        status = await self._end(keys=[*_keys(record.id), keys.WORK], args=args)
        return cast(Status, status.decode()) if status else None

    async def delete(self, record: Record) -> None:
        """The record, its events, its place on the list; whoever calls deletes the contents."""
        await self._delete(keys=[*_keys(record.id), keys.transcriptions(record.order.member)], args=[record.id])

    async def awaits_webhook(self, transcription_id: str) -> bool:
        """Whether whoever wished it has still to be called."""
        status, webhook = await self._redis.hmget(keys.transcription(transcription_id), ["status", "webhook"])
        return status is not None and webhook is None

    async def note_webhook(self, transcription_id: str, outcome: Outcome) -> None:
        """What became of the webhook; nothing, if the job is gone."""
        await self._note(keys=[keys.transcription(transcription_id)], args=[msgspec.json.encode(outcome)])


def _keys(transcription_id: str) -> list[str]:
    return [keys.transcription(transcription_id), keys.transcription_events(transcription_id)]


def _ms(time_s: float) -> int:
    return int(time_s * 1000)
