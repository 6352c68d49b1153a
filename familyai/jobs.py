"""Job records: the state machine `queued → running → done | failed | cancelled`, each step one atomic script.

Every script may be repeated: a second enqueue of a job changes nothing, a second delivery's claim gets nothing, an
ended job stays ended. The request's content leaves the record when the job ends.
"""

import time
import uuid
from enum import StrEnum
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError
from familyai.job import Job, decode_job, encode_job
from familyai.tasks import task_message


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATES = frozenset(state.encode() for state in State)


class Claim(msgspec.Struct, frozen=True):
    """A job that is now this worker's to run."""

    job: Job
    attempt: int
    queue_wait_s: float


class Record(msgspec.Struct, frozen=True):
    """What others may know of a job while it lives; `state` is None when there is no record that this version reads."""

    state: State | None
    worker: str | None = None


# KEYS: record, waiting set, lane. ARGV: job id, job, message, now, TTL in ms, queue's name.
_ENQUEUE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'job', ARGV[2], 'state', 'queued', 'attempt', 0, 'queue', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[4] - ARGV[5] / 1000)
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('LPUSH', KEYS[3], ARGV[3])
return 1
"""

# KEYS: record, lane. ARGV: message.
_PUSH_AGAIN = """
if redis.call('HGET', KEYS[1], 'state') == 'queued' then redis.call('LPUSH', KEYS[2], ARGV[1]) end
return 1
"""

# KEYS: record, waiting set. ARGV: job id, worker, now, TTL in ms, delivery. Asked again by the delivery that won (its
# answer was lost on the way), it says the same.
_CLAIM = """
redis.call('ZREM', KEYS[2], ARGV[1])
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'queued' then
  redis.call('HINCRBY', KEYS[1], 'attempt', 1)
  redis.call('HSET', KEYS[1], 'state', 'running', 'worker', ARGV[2], 'claimed_at_s', ARGV[3], 'delivery', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
elseif state ~= 'running' or redis.call('HGET', KEYS[1], 'delivery') ~= ARGV[5] then
  return false
end
return redis.call('HMGET', KEYS[1], 'job', 'attempt')
"""

# KEYS: record, waiting set. ARGV: job id, now, TTL in ms. Returns the worker to tell, if one is running it.
_CANCEL = """
redis.call('ZREM', KEYS[2], ARGV[1])
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'queued' and state ~= 'running' then return false end
redis.call('HSET', KEYS[1], 'state', 'cancelled', 'ended_at_s', ARGV[2])
redis.call('HDEL', KEYS[1], 'job')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if state == 'running' then return redis.call('HGET', KEYS[1], 'worker') end
return false
"""

# KEYS: record. ARGV: state, now, attempt, TTL in ms. Only the attempt that runs may end the job.
_FINISH = """
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'ended_at_s', ARGV[2])
redis.call('HDEL', KEYS[1], 'job')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""


class JobStore:
    """The records of all jobs. Every method raises one of BROKER_ERRORS when the broker is gone."""

    def __init__(self, redis: Redis, record_ttl_s: float) -> None:
        self._redis = redis
        self._ttl_ms = int(record_ttl_s * 1000)
        self._enqueue = redis.register_script(_ENQUEUE)
        self._push_again = redis.register_script(_PUSH_AGAIN)
        self._claim = redis.register_script(_CLAIM)
        self._cancel = redis.register_script(_CANCEL)
        self._finish = redis.register_script(_FINISH)

    async def enqueue(self, job: Job) -> None:
        """Record, waiting set and Celery message in one step: all of it happens, or none."""
        await self._enqueue(
            keys=[keys.job(job.id), keys.waiting(job.queue), job.lane],
            args=[job.id, encode_job(job), task_message(job), job.created_at_s, self._ttl_ms, job.queue],
        )

    async def push_again(self, job_id: str) -> None:
        """Another message for a queued job: its first was lost with the worker that had just taken it.

        Should it only be late, the job is claimed by one of the two all the same. Raises DecodeError.
        """
        data = cast(bytes | None, await self._redis.hget(keys.job(job_id), "job"))
        if data is not None:
            job = decode_job(data)
            await self._push_again(keys=[keys.job(job_id), job.lane], args=[task_message(job)])

    async def claim(self, job_id: str, queue: str, worker: str, delivery: str | None = None) -> Claim | None:
        """None when there is nothing to run: cancelled, ended, expired, or already somebody's.

        `delivery` names one delivery of the message: who lost the answer in a broken connection asks again by the same
        name and gets the same claim. Raises DecodeError for a job that nobody can read, which has then failed.
        """
        now_s = time.time()
        won = await self._claim(
            keys=[keys.job(job_id), keys.waiting(queue)],
            args=[job_id, worker, now_s, self._ttl_ms, delivery or uuid.uuid4().hex],
        )
        if won is None:
            return None
        data, attempt = cast(tuple[bytes, bytes], won)
        return await self._read(job_id, data, int(attempt), now_s)

    async def cancel(self, job_id: str, queue: str) -> None:
        """A queued job will never start; the worker of a running one is told at once."""
        worker = await self._cancel(
            keys=[keys.job(job_id), keys.waiting(queue)], args=[job_id, time.time(), self._ttl_ms]
        )
        if worker is not None:
            await self._redis.publish(keys.control(worker.decode()), job_id)

    async def finish(self, job_id: str, attempt: int, state: State) -> None:
        await self._finish(keys=[keys.job(job_id)], args=[state, time.time(), attempt, self._ttl_ms])

    async def records(self, job_ids: list[str]) -> list[Record]:
        """The records of these jobs, in their order, in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hmget(keys.job(job_id), ["state", "worker"])
        return [_record(*fields) for fields in await pipe.execute()]

    async def renew(self, job_ids: list[str]) -> list[Record]:
        """The same for jobs that are running here, whose records thereby outlive their expiry."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.pexpire(keys.job(job_id), self._ttl_ms)
            pipe.hmget(keys.job(job_id), ["state", "worker"])
        return [_record(*fields) for fields in (await pipe.execute())[1::2]]

    async def queued(self, queue: str) -> int:
        """How many messages lie on the queue's lanes for a worker to take."""
        pipe = self._redis.pipeline(transaction=False)
        for lane in keys.lanes(queue):
            pipe.llen(lane)
        return sum(await pipe.execute())

    async def waiting(self, queue: str) -> int:
        """How many jobs of this queue nobody has claimed yet."""
        return await self._redis.zcard(keys.waiting(queue))

    async def _read(self, job_id: str, data: bytes, attempt: int, now_s: float) -> Claim:
        try:
            job = decode_job(data)
        except DecodeError:
            await self.finish(job_id, attempt, State.FAILED)
            raise
        return Claim(job, attempt, max(0.0, now_s - job.created_at_s))


def _record(state: bytes | None, worker: Any) -> Record:
    known = State(state.decode()) if state in _STATES else None
    return Record(known, worker.decode() if worker else None)
