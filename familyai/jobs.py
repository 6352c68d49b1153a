"""Job records: the state machine `queued → running → done | failed | cancelled`, each step one atomic script.

Every step may be repeated: a second enqueue of a job changes nothing, a second delivery's claim gets nothing, an ended
job stays ended. The request's content leaves the record when the job ends.
"""

import time
import uuid
from enum import StrEnum
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from familyai import job_scripts, keys
from familyai.errors import DecodeError, LimitReached
from familyai.in_flight import reservation
from familyai.job import Job, decode_job, encode_job
from familyai.lanes import lane_named
from familyai.past import NOTHING, Past, decode_past, encode_past
from familyai.tasks import task_message


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATES = frozenset(state.encode() for state in State)


MOST_ATTEMPTS = 3
"""So many workers may die over a job; then it counts as what kills them."""
SET_ASIDE_S = 7 * 24 * 3600
"""So long it is known that it did."""


class Claim(msgspec.Struct, frozen=True):
    """A job that is now this worker's to run."""

    job: Job
    attempt: int
    queue_wait_s: float
    past: Past = NOTHING


class Held(msgspec.Struct, frozen=True):
    """A job that must wait though it is its turn: as many of its member's run as may."""


class Delivery(msgspec.Struct, frozen=True):
    """One delivery of a job's message: what a worker knows before it has asked for the job."""

    job_id: str
    lane: str
    member: str
    width: int = 1
    most_running: int = 0
    shares_lane: bool = False
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)


class Record(msgspec.Struct, frozen=True):
    """What others may know of a job while it lives; `state` is None when there is no record that this version reads."""

    state: State | None
    worker: str | None = None
    lane: str | None = None
    attempt: int = 0
    queued_at_s: float = 0.0
    """When it was put into the line, or put there again."""

    @property
    def queue(self) -> str | None:
        try:
            return lane_named(self.lane).queue if self.lane else None
        except ValueError:
            return None


class Description(msgspec.Struct, frozen=True):
    """A job's record without its content. Times are Unix times."""

    id: str
    state: State
    queue: str
    lane: str
    member: str
    model: str
    front: str
    attempt: int
    created_at_s: float
    path: str = ""
    streams: bool = False
    worker: str | None = None
    claimed_at_s: float | None = None
    ended_at_s: float | None = None


_OF_RECORD = ["state", "worker", "lane", "attempt", "created_at_s", "queued_at_s"]
_FIELDS = [name for name in Description.__struct_fields__ if name != "id"]


class JobStore:
    """The records of all jobs. Every method raises one of BROKER_ERRORS when the broker is gone."""

    def __init__(self, redis: Redis, record_ttl_s: float, most_waiting: int = 1_000_000) -> None:
        self._redis = redis
        self._ttl_ms = int(record_ttl_s * 1000)
        self._most_waiting = most_waiting
        self._enqueue = redis.register_script(job_scripts.ENQUEUE)
        self._push_again = redis.register_script(job_scripts.PUSH_AGAIN)
        self._claim = redis.register_script(job_scripts.CLAIM)
        self._take_back = redis.register_script(job_scripts.TAKE_BACK)
        self._cancel = redis.register_script(job_scripts.CANCEL)
        self._finish = redis.register_script(job_scripts.FINISH)

    async def enqueue(self, job: Job) -> None:
        """Record, place in the line and Celery message in one step: all of it happens, or none.

        Raises LimitReached when so many wait for the model already that nobody may join them.
        """
        waiting, queue = keys.waiting(job.lane), job.queue
        shared = [keys.backlog(queue), keys.active(queue), keys.service(queue), keys.pace(queue), keys.DETACHED]
        content: list[Any] = [job.id, encode_job(job), task_message(job), msgspec.json.encode(job.ticket)]
        limits = [job.created_at_s, self._ttl_ms, self._most_waiting]
        about: list[Any] = [queue, job.lane, job.member, job.model, job.front, job.path, int(job.streams)]
        if not await self._enqueue([keys.job(job.id), waiting, job.lane, *shared], [*content, *limits, *about]):
            raise LimitReached(
                "too many people are waiting for this model; try again in a minute",
                code="line_too_long",
                retry_after_s=60,
            )

    async def push_again(self, job_id: str, *, at_head: bool = False) -> None:
        """Another message for a queued job: its first was lost with the worker that had just taken it.

        Should it only be late, the job is claimed by one of the two all the same. `at_head`: it was its turn, but it
        could not be begun. Raises DecodeError.
        """
        if (job := await self.read(job_id)) is not None:
            where = "head" if at_head else "tail"
            await self._push_again([keys.job(job_id), job.lane], [task_message(job), where])

    async def claim(self, delivery: Delivery, queue: str, worker: str) -> Claim | Held | None:
        """None when there is nothing to run: cancelled, ended, expired, or already somebody's.

        Who lost the answer in a broken connection asks again for the same delivery and gets the same claim. Raises
        DecodeError for a job that nobody can read, which has then failed.
        """
        now_s, lane = time.time(), delivery.lane
        line = [keys.waiting(lane), keys.backlog(queue), keys.active(queue)]
        others = [keys.running(queue), keys.pace(queue), keys.in_flight(delivery.member)]
        who: list[Any] = [delivery.job_id, lane, worker, now_s, self._ttl_ms, delivery.id]
        won = await self._claim(
            [keys.job(delivery.job_id), *line, *others], [*who, delivery.width, delivery.most_running, keys.job("")]
        )
        if won is None:
            return None
        if won == b"held":
            return Held()
        data, attempt, past = cast(tuple[bytes, bytes, bytes | None], won)
        return await self._read(delivery, queue, data, int(attempt), past, now_s)

    async def take_back(self, job_id: str, attempt: int, past: Past) -> State | None:
        """A job whose worker died waits again, with what its client has of the answer; it is set aside as failed when
        that was its last attempt. None when it does not run as this attempt, or its worker lives: then nothing changes.

        Raises DecodeError.
        """
        job, now_s = await self.read(job_id), time.time()
        if job is None:
            return None
        line = [job.lane, keys.waiting(job.lane), keys.backlog(job.queue), keys.active(job.queue)]
        others = [keys.running(job.queue), keys.workers(job.queue), keys.in_flight(job.member), keys.SET_ASIDE]
        log = keys.log(job_id)
        about: list[Any] = [task_message(job), encode_past(past), job.lane, msgspec.json.encode(job.ticket)]
        limits: list[Any] = [reservation(job, now_s), MOST_ATTEMPTS, now_s, self._ttl_ms, SET_ASIDE_S]
        became = await self._take_back([keys.job(job_id), *line, *others, log], [job_id, attempt, *about, *limits])
        return State(became.decode()) if became else None

    async def read(self, job_id: str) -> Job | None:
        """The job itself, as long as it has not ended. Raises DecodeError."""
        data = cast(bytes | None, await self._redis.hget(keys.job(job_id), "job"))
        return decode_job(data) if data is not None else None

    async def set_aside(self) -> list[str]:
        """Jobs over which one worker after another died, the last first."""
        found = cast(list[bytes], await self._redis.zrevrange(keys.SET_ASIDE, 0, -1))
        return [job_id.decode() for job_id in found]

    async def detached(self) -> list[str]:
        """Jobs that no front in particular looks after, the oldest first; some may have ended."""
        return [job_id.decode() for job_id in cast(list[bytes], await self._redis.zrange(keys.DETACHED, 0, -1))]

    async def forget_detached(self, job_ids: list[str]) -> None:
        """Those have ended."""
        await self._redis.zrem(keys.DETACHED, *job_ids)

    async def cancel(self, job_id: str) -> State | None:
        """A queued job will never start; the worker of a running one is told at once.

        Returns the state it was in; None when it had ended, or never was.
        """
        job = await self.describe(job_id)
        if job is None:
            return None
        line = [keys.waiting(job.lane), keys.backlog(job.queue), keys.active(job.queue), keys.pace(job.queue)]
        was = await self._cancel(
            [keys.job(job_id), *line, keys.in_flight(job.member)], [job_id, job.lane, time.time(), self._ttl_ms]
        )
        if was == b"running":
            worker = cast(bytes, await self._redis.hget(keys.job(job_id), "worker"))
            await self._redis.publish(keys.control(worker.decode()), job_id)
        return State(was.decode()) if was else None

    async def finish(self, job: Job, attempt: int, state: State, busy_s: float = 0.0) -> None:
        """`busy_s`: how long a whole answer took, times its width; 0 for what tells nothing of the pace."""
        about = [keys.running(job.queue), keys.pace(job.queue), keys.in_flight(job.member)]
        end: list[Any] = [job.id, state, time.time(), attempt, self._ttl_ms, job.cost, busy_s]
        await self._finish([keys.job(job.id), *about], end)

    async def records(self, job_ids: list[str]) -> list[Record]:
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hmget(keys.job(job_id), _OF_RECORD)
        return [_record(*fields) for fields in await pipe.execute()]

    async def describe(self, job_id: str) -> Description | None:
        """None for a job that never was, has expired, or is of another version."""
        return next(iter(await self.describe_all([job_id])), None)

    async def describe_all(self, job_ids: list[str]) -> list[Description]:
        """In the same order, those left out that are not known any more."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hmget(keys.job(job_id), _FIELDS)
        found = zip(job_ids, await pipe.execute(), strict=True)
        return [job for job_id, values in found if (job := _description(job_id, values)) is not None]

    async def renew(self, job_ids: list[str]) -> list[Record]:
        """The same for jobs that are running here, whose records thereby outlive their expiry."""
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.pexpire(keys.job(job_id), self._ttl_ms)
            pipe.hmget(keys.job(job_id), _OF_RECORD)
        return [_record(*fields) for fields in (await pipe.execute())[1::2]]

    async def lanes_with_messages(self, queue: str) -> set[str]:
        """The lanes of this queue in which a message lies for a worker to take."""
        members = cast(set[bytes], await self._redis.smembers(keys.active(queue)))
        active = [lane.decode() for lane in members]
        pipe = self._redis.pipeline(transaction=False)
        for lane in active:
            pipe.llen(lane)
        return {lane for lane, length in zip(active, await pipe.execute(), strict=True) if length}

    async def unfinished(self, queue: str) -> list[Description]:
        """All that wait or run in this queue. What has just ended may be among them."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.hkeys(keys.backlog(queue))
        pipe.hkeys(keys.running(queue))
        waiting, running = await pipe.execute()
        return await self.describe_all([job_id.decode() for job_id in (*waiting, *running)])

    async def waiting(self, queue: str) -> int:
        """How many jobs of this queue nobody has claimed yet."""
        return await self._redis.hlen(keys.backlog(queue))

    async def _read(
        self, delivery: Delivery, queue: str, data: bytes, attempt: int, past: bytes | None, now_s: float
    ) -> Claim:
        try:
            job, known = decode_job(data), decode_past(past)
        except DecodeError:
            about = [keys.running(queue), keys.pace(queue), keys.in_flight(delivery.member)]
            end: list[Any] = [delivery.job_id, State.FAILED, now_s, attempt, self._ttl_ms, 0, 0]
            await self._finish([keys.job(delivery.job_id), *about], end)
            raise
        return Claim(job, attempt, max(0.0, now_s - job.created_at_s), known)


def _record(*values: bytes | None) -> Record:
    state, worker, lane, attempt, created_at_s, queued_at_s = values
    known = State(state.decode()) if state in _STATES else None
    where = worker.decode() if worker else None, lane.decode() if lane else None
    return Record(known, *where, int(attempt or 0), float(queued_at_s or created_at_s or 0))


def _description(job_id: str, values: list[bytes | None]) -> Description | None:
    known = {name: value.decode() for name, value in zip(_FIELDS, values, strict=True) if value is not None}
    try:
        return msgspec.convert({"id": job_id, **known}, Description, strict=False)
    except msgspec.ValidationError:
        return None
