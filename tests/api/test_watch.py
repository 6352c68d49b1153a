import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from api.replies import Reply, ReplyHub
from api.watch import (
    ENDED_S,
    MESSAGE_LOST_S,
    WORKER_LOST_S,
    Since,
    Trouble,
    Watch,
    troubles,
    update,
    verdict,
)
from api.withdraw import Withdrawals
from familyai.blobs import BlobStore
from familyai.errors import EngineFailed, Unavailable
from familyai.frame import Body, End, Frame, Start, Tokens
from familyai.jobs import MOST_ATTEMPTS, Claim, Delivery, JobStore, Record, State
from familyai.lanes import Priority
from familyai.past import Past
from familyai.registry import WorkerRegistry
from tests.support import a_job

NO_WORKER_WAIT_S, DEADLINE_S = 30, 600
WAITS = Record(State.QUEUED, None, "q.00")


@pytest.mark.parametrize(
    ("record", "alive", "lanes", "expected"),
    [
        (WAITS, {"w1"}, {"q.00", "q.01"}, {Trouble.QUEUED}),
        (WAITS, {"w1"}, set(), {Trouble.QUEUED, Trouble.MESSAGE_LOST}),
        (WAITS, {"w1"}, {"q.01"}, {Trouble.QUEUED, Trouble.MESSAGE_LOST}),
        (WAITS, set(), {"q.00"}, {Trouble.QUEUED, Trouble.NO_WORKER}),
        (Record(State.QUEUED, None, "q.00", attempt=1), {"w1"}, {"q.00"}, set()),
        (Record(State.QUEUED, None, "q.00", attempt=1), set(), set(), {Trouble.NO_WORKER, Trouble.MESSAGE_LOST}),
        (Record(State.RUNNING, "w1", "q.00"), {"w1", "w2"}, set(), set()),
        (Record(State.RUNNING, "w1", "q.00"), {"w2"}, {"q.00"}, {Trouble.WORKER_LOST}),
        (Record(State.DONE, "w1"), {"w1"}, set(), {Trouble.ENDED}),
        (Record(State.FAILED, "w1"), {"w1"}, set(), {Trouble.ENDED}),
        (Record(State.CANCELLED), {"w1"}, set(), {Trouble.ENDED}),
        (Record(None), {"w1"}, set(), {Trouble.ENDED}),
    ],
)
def test_what_can_be_wrong_with_a_job(record: Record, alive: set[str], lanes: set[str], expected: set[Trouble]) -> None:
    assert troubles(record, alive, lanes) == expected


@pytest.mark.parametrize(
    ("since", "now_s", "code"),
    [
        ({}, 1e6, None),
        ({Trouble.QUEUED: 0}, 599, None),
        ({Trouble.QUEUED: 0}, 600, "queue_timeout"),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 100}, 129, None),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 100}, 130, "no_worker"),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 570}, 600, "no_worker"),
        ({Trouble.WORKER_LOST: 0}, 1e6, None),
        ({Trouble.ENDED: 0}, ENDED_S - 0.1, None),
        ({Trouble.ENDED: 0}, ENDED_S, "reply_lost"),
        ({Trouble.MESSAGE_LOST: 0}, 1e6, None),
    ],
)
def test_each_trouble_is_borne_for_its_time(since: Since, now_s: float, code: str | None) -> None:
    failure = verdict(since, now_s, NO_WORKER_WAIT_S, DEADLINE_S)

    assert (failure.code if failure else None) == code
    assert failure is None or failure.retry_after_s


def test_a_household_may_refuse_at_the_first_look() -> None:
    since = update({}, {Trouble.QUEUED, Trouble.NO_WORKER}, 5.0)

    failure = verdict(since, 5.0, 0, DEADLINE_S)

    assert failure is not None
    assert failure.code == "no_worker"


def test_a_trouble_that_passed_starts_anew() -> None:
    since = update({}, {Trouble.NO_WORKER}, 0)
    since = update(since, {Trouble.NO_WORKER}, 10)
    assert since == {Trouble.NO_WORKER: 0}

    since = update(since, set(), 20)
    assert update(since, {Trouble.NO_WORKER}, 30) == {Trouble.NO_WORKER: 30}


@pytest.fixture
def replies(broker_url: str) -> ReplyHub:
    made = ReplyHub(broker_url, "front-1", on_stray=lambda job_id: None)
    made.subscription.connected.set()
    return made


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, record_ttl_s=60)


@pytest.fixture
def watch(replies: ReplyHub, jobs: JobStore, redis: Redis, tmp_path: Path) -> Watch:
    withdrawals = Withdrawals(jobs, BlobStore(tmp_path.as_uri()), record_ttl_s=60)
    return Watch(replies, withdrawals, jobs, WorkerRegistry(redis), NO_WORKER_WAIT_S)


@pytest.mark.parametrize("priority", Priority)
async def test_a_message_that_a_killed_worker_took_along_is_pushed_again(
    watch: Watch, replies: ReplyHub, jobs: JobStore, redis: Redis, priority: Priority
) -> None:
    job = a_job(priority=priority)
    replies.open(job)
    await jobs.enqueue(job)
    lost = await redis.rpop(job.lane)

    await watch.look(0)
    await watch.look(MESSAGE_LOST_S - 0.1)
    assert await jobs.lanes_with_messages(job.queue) == set()
    await watch.look(MESSAGE_LOST_S)
    await watch.look(3 * MESSAGE_LOST_S)  # one lies there now

    assert await redis.llen(job.lane) == 1
    found = await redis.rpop(job.lane)
    assert [json.loads(message)["body"] for message in (found, lost)] == [json.loads(lost)["body"]] * 2
    assert isinstance(await jobs.claim(Delivery(job.id, job.lane, job.member), job.queue, "w1"), Claim)
    assert await jobs.claim(Delivery(job.id, job.lane, job.member), job.queue, "w2") is None


async def test_a_job_that_is_claimed_meanwhile_gets_no_second_message(jobs: JobStore, redis: Redis) -> None:
    job = a_job()
    await jobs.enqueue(job)
    await redis.rpop(job.lane)
    await jobs.claim(Delivery(job.id, job.lane, job.member), job.queue, "w1")
    await jobs.push_again(job.id)
    await jobs.push_again("job-nobody-knows")
    assert await jobs.lanes_with_messages(job.queue) == set()


async def died_with(jobs: JobStore, replies: ReplyHub, *frames: Frame, **fields: Any) -> Reply:
    """A job that ran on a worker that is no more."""
    job = a_job(id="job-1", **fields)
    reply = replies.open(job)
    await jobs.enqueue(job)
    assert isinstance(await jobs.claim(Delivery(job.id, job.lane, job.member), job.queue, "dead"), Claim)
    for frame in frames:
        reply.put(frame)
    return reply


START, WORDS = Start("job-1", 1, 0, 200, (), "dead", 0), Body("job-1", 1, 1, b"words", Tokens(2, ((7, 8),)))


async def test_a_dead_workers_job_waits_again_with_what_its_client_has(
    watch: Watch, replies: ReplyHub, jobs: JobStore
) -> None:
    reply = await died_with(jobs, replies, START, WORDS, continues=True)
    await watch.look(0)
    await watch.look(WORKER_LOST_S)
    claim = await jobs.claim(Delivery("job-1", "q.00", "ada"), "q", "w2")

    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.past) == (2, Past(frames=2, outputs=((7, 8),)))
    for frame in (Body("job-1", 1, 2, b"late"), Body("job-1", 2, 2, b" more"), End("job-1", 2, 3)):
        reply.put(frame)
    assert [frame.data for frame in await reply.frames() if isinstance(frame, Body)] == [b"words", b" more"]
    assert reply.ended


async def test_nothing_is_taken_back_at_once_or_from_the_living(
    watch: Watch, replies: ReplyHub, jobs: JobStore, redis: Redis
) -> None:
    await died_with(jobs, replies)
    await watch.look(0)
    await watch.look(WORKER_LOST_S - 0.1)
    await WorkerRegistry(redis).beat("q", "dead")
    await watch.look(WORKER_LOST_S)

    assert [record.state for record in await jobs.records(["job-1"])] == [State.RUNNING]


async def test_an_answer_that_no_worker_can_continue_ends_with_an_error(
    watch: Watch, replies: ReplyHub, jobs: JobStore
) -> None:
    reply = await died_with(jobs, replies, START, WORDS)
    await watch.look(0)
    await watch.look(WORKER_LOST_S)

    assert await reply.frames() == [START, WORDS]
    with pytest.raises(Unavailable, match="cannot be continued"):
        await reply.frames()


async def test_a_job_that_ends_one_worker_after_another_is_set_aside(
    watch: Watch, replies: ReplyHub, jobs: JobStore
) -> None:
    reply = await died_with(jobs, replies)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        await watch.look(attempt * 10)
        await watch.look(attempt * 10 + WORKER_LOST_S)
        await jobs.claim(Delivery("job-1", "q.00", "ada"), "q", "dead")

    with pytest.raises(EngineFailed, match="set aside"):
        await reply.frames()
    assert await jobs.set_aside() == ["job-1"]


async def test_an_answer_that_is_here_whole_may_be_read_slowly(watch: Watch, replies: ReplyHub) -> None:
    whole, half = replies.open(a_job(id="job-1")), replies.open(a_job(id="job-2"))
    frames = [Start("job-1", 1, 0, 200, (), "w", 0), End("job-1", 1, 1)]
    for frame in frames:
        whole.put(frame)

    for now_s in (0, ENDED_S, 2 * ENDED_S):  # neither job has a record any more
        await watch.look(now_s)

    assert await whole.frames() == frames
    with pytest.raises(Unavailable) as caught:
        await half.frames()
    assert caught.value.code == "reply_lost"


async def test_a_client_s_own_deadline_counts(watch: Watch, replies: ReplyHub, jobs: JobStore, redis: Redis) -> None:
    job = a_job(deadline_s=20)
    await WorkerRegistry(redis).beat(job.queue, "w1")
    await jobs.enqueue(job)
    reply = replies.open(job)
    reading = asyncio.create_task(reply.frames())
    for now_s in (0, 19):
        await watch.look(now_s)
    assert not reading.done()
    await watch.look(20)
    with pytest.raises(Unavailable, match="waited its 20 s"):
        await reading
