"""Batches: what was asked for, and how far it has come. Each step is one atomic script that may be repeated.

```
validating → in_progress → finalizing → completed | expired
     └────────────┴→ cancelling → cancelled          any of these → failed
```
"""

import time
import uuid
from enum import StrEnum
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError, NotFound

KIND = "batch"
"""What the entries of batches in `familyai:work` begin with."""


class Status(StrEnum):
    """OpenAI's words."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"


_STATUSES = {status.encode(): status for status in Status}
ENDED = frozenset({Status.COMPLETED, Status.EXPIRED, Status.CANCELLED, Status.FAILED})


class Verdict(StrEnum):
    """How a line came out; also the names of the counters."""

    COMPLETED = "completed"
    FAILED = "failed"


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; it never changes."""

    id: str
    member: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at_s: float
    expires_at_s: float
    output_keep_s: float
    metadata: dict[str, str] | None = None


class Problem(msgspec.Struct, frozen=True):
    """Why a batch failed; of its input, in which line."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it stands. `times_s` says when it entered each status."""

    batch: Batch
    status: Status
    times_s: dict[str, float]
    total: int
    completed: int
    failed: int
    problems: tuple[Problem, ...]
    output_file_id: str | None
    error_file_id: str | None

    @property
    def id(self) -> str:
        return self.batch.id


def new_batch_id() -> str:
    """Unique and unguessable."""
    return f"batch_{uuid.uuid4().hex}"


def line_blob(batch_id: str, number: int, verdict: Verdict) -> str:
    """The name of a line's result. Each verdict has its own, so that a late one overwrites no other."""
    return f"batches/{batch_id}/{number}.{verdict}"


# KEYS: record, the member's batches, work. ARGV: id, batch, now, when it lapses even if it never ends (Unix ms), entry.
_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'batch', ARGV[2], 'status', 'validating', 'total', 0, 'completed', 0, 'failed', 0)
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[5])
return 1
"""

# KEYS: record. ARGV: statuses it may have now, its next, now, how long it is kept from now on (ms; 0: as before), then
# fields and values. Returns 1 when the status is the wanted one.
_STEP = """
local status = redis.call('HGET', KEYS[1], 'status')
if status == ARGV[2] then return 1 end
if not status or not string.find(ARGV[1], ' ' .. status .. ' ', 1, true) then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[2], ARGV[2] .. '_at', ARGV[3], unpack(ARGV, 5))
if ARGV[4] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
"""

# KEYS: record. ARGV: line number, verdict. Counts a line once, however often it is said to be done.
_MARK = """
if redis.call('HGET', KEYS[1], 'status') ~= 'in_progress' then return 0 end
if redis.call('HSETNX', KEYS[1], 'line:' .. ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], ARGV[2], 1)
return 1
"""


class BatchStore:
    """Raises redis-py's errors when the broker is gone."""

    def __init__(self, redis: Redis, keep_s: float) -> None:
        """`keep_s`: how long a batch is kept after it ended, or should have."""
        self._redis = redis
        self._keep_s = keep_s
        self._create = redis.register_script(_CREATE)
        self._step = redis.register_script(_STEP)
        self._mark = redis.register_script(_MARK)

    async def create(self, batch: Batch) -> Record:
        """Record and work in one step: whoever leads will drive it."""
        await self._create(
            keys=[keys.batch(batch.id), keys.batches(batch.member), keys.WORK],
            args=[
                batch.id,
                msgspec.json.encode(batch),
                batch.created_at_s,
                int((batch.expires_at_s + self._keep_s) * 1000),
                f"{KIND}:{batch.id}",
            ],
        )
        return await self.get(batch.id, batch.member)

    async def find(self, batch_id: str) -> Record | None:
        """None for what was never there, or is no longer."""
        return _record(cast(list[bytes | None], await self._redis.hmget(keys.batch(batch_id), _ALL)))

    async def status(self, batch_id: str) -> Status | None:
        """None for a batch that is not there, or has a status that this version does not know."""
        status = cast(bytes | None, await self._redis.hget(keys.batch(batch_id), "status"))
        return _STATUSES.get(status or b"")

    async def get(self, batch_id: str, member: str) -> Record:
        """Raises NotFound, for other people's batches too."""
        record = await self.find(batch_id)
        if record is None or record.batch.member != member:
            raise NotFound(f"there is no batch '{batch_id[:64]}'", param="batch_id", code="batch_not_found")
        return record

    async def all(self, member: str) -> list[Record]:
        """Newest first. Entries whose batch has expired are dropped on the way."""
        ids = cast(list[bytes], await self._redis.zrange(keys.batches(member), 0, -1, desc=True))
        pipe = self._redis.pipeline(transaction=False)
        for batch_id in ids:
            pipe.hmget(keys.batch(batch_id.decode()), _ALL)
        records = [_record(values) for values in await pipe.execute()]
        if gone := [batch_id for batch_id, record in zip(ids, records, strict=True) if record is None]:
            await self._redis.zrem(keys.batches(member), *gone)
        return [record for record in records if record is not None]

    async def begin(self, batch_id: str, total: int) -> bool:
        """Its input is sound and has so many requests."""
        return await self._go(batch_id, {Status.VALIDATING}, Status.IN_PROGRESS, total=total)

    async def mark(self, batch_id: str, number: int, verdict: Verdict) -> bool:
        """This line's result lies in the blob store. False when it was marked before, or none are taken any more."""
        return bool(await self._mark(keys=[keys.batch(batch_id)], args=[number, verdict]))

    async def marks(self, batch_id: str) -> dict[int, Verdict]:
        """What is done, in the order of the input."""
        fields = cast(dict[bytes, bytes], await self._redis.hgetall(keys.batch(batch_id)))
        lines = {int(name[5:]): Verdict(value.decode()) for name, value in fields.items() if name.startswith(b"line:")}
        return dict(sorted(lines.items()))

    async def finalize(self, batch_id: str) -> bool:
        """No more lines: what is done goes into the files."""
        return await self._go(batch_id, {Status.IN_PROGRESS}, Status.FINALIZING)

    async def cancel(self, batch_id: str) -> bool:
        """False when it is too late; asked again, True again."""
        return await self._go(batch_id, {Status.VALIDATING, Status.IN_PROGRESS}, Status.CANCELLING)

    async def end(self, batch_id: str, status: Status, output_file_id: str | None, error_file_id: str | None) -> bool:
        """With its files, which are whole and on record."""
        files = {"output_file_id": output_file_id, "error_file_id": error_file_id}
        made = {name: file_id for name, file_id in files.items() if file_id is not None}
        return await self._go(batch_id, {Status.FINALIZING, Status.CANCELLING}, status, **made)

    async def fail(self, batch_id: str, problems: list[Problem]) -> bool:
        """It cannot go on, and these are the reasons."""
        return await self._go(batch_id, set(Status) - ENDED, Status.FAILED, problems=msgspec.json.encode(problems))

    async def _go(self, batch_id: str, sources: set[Status], to: Status, **fields: Any) -> bool:
        keep_ms = int(self._keep_s * 1000) if to in ENDED else 0
        flat = [word for pair in fields.items() for word in pair]
        args = [f" {' '.join(sorted(sources))} ", to, time.time(), keep_ms, *flat]
        return bool(await self._step(keys=[keys.batch(batch_id)], args=args))


_TIMES = tuple(f"{status}_at" for status in Status if status is not Status.VALIDATING)
_ALL = ["batch", "status", "total", "completed", "failed", "problems", "output_file_id", "error_file_id", *_TIMES]


def _record(values: list[bytes | None]) -> Record | None:
    fields = dict(zip(_ALL, values, strict=True))
    if fields["batch"] is None:
        return None
    try:
        return Record(
            batch=msgspec.json.decode(fields["batch"], type=Batch),
            status=Status((fields["status"] or b"").decode()),
            times_s={name: float(value) for name in _TIMES if (value := fields[name])},
            total=int(fields["total"] or 0),
            completed=int(fields["completed"] or 0),
            failed=int(fields["failed"] or 0),
            problems=msgspec.json.decode(fields["problems"] or b"[]", type=tuple[Problem, ...]),
            output_file_id=_text(fields["output_file_id"]),
            error_file_id=_text(fields["error_file_id"]),
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise DecodeError(f"not a batch's record: {error}") from error


def _text(value: bytes | None) -> str | None:
    return value.decode() if value else None
