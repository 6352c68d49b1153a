import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

import api.watch
from api.caretaker import Caretaker
from api.follow import Followers
from api.replies import Reply, ReplyHub
from api.troubles import ENDED_S, MESSAGE_LOST_S, WORKER_LOST_S
from api.watch import Watch
from api.withdraw import Withdrawals
from familyai import keys
from familyai.blobs import BlobStore
from familyai.errors import EngineFailed, Unavailable
from familyai.frame import Body, End, Frame, Start, Tokens
from familyai.job_log import JobLog, entry
from familyai.jobs import MOST_ATTEMPTS, Claim, Delivery, JobStore, State
from familyai.lanes import Priority
from familyai.past import Past
from familyai.registry import WorkerRegistry
from tests.support import a_job

QUEUE_WAIT_S = 600


@pytest.fixture
def replies(broker_url: str, followers: Followers) -> ReplyHub:
    made = ReplyHub(broker_url, "front-1", on_stray=lambda job_id: None, on_missed=followers.add)
    made.subscription.connected.set()
    return made


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, record_ttl_s=60)


@pytest.fixture
def watch(replies: ReplyHub, followers: Followers, jobs: JobStore, logs: JobLog, redis: Redis, tmp_path: Path) -> Watch:
    withdrawals = Withdrawals(jobs, BlobStore(tmp_path.as_uri()), record_ttl_s=60)
    return Watch(
        replies,
        followers,
        withdrawals,
        jobs,
        WorkerRegistry(redis),
        Caretaker(jobs, logs, followers, withdrawals, QUEUE_WAIT_S),
        no_worker_wait_s=30,
        broker_wait_s=60,
    )


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


async def test_an_end_that_was_lost_on_its_way_is_read_in_the_log(
    watch: Watch, replies: ReplyHub, followers: Followers, jobs: JobStore, logs: JobLog
) -> None:
    reply = await died_with(jobs, replies, START, logged=True)
    await logs.append([entry((START, WORDS, End("job-1", 1, 2)))])
    await jobs.finish(a_job(id="job-1"), 1, State.DONE)
    await watch.look(0)
    await followers.look()

    assert await reply.frames() == [START, WORDS, End("job-1", 1, 2)]


async def test_who_reads_slowly_has_lost_nothing(
    watch: Watch, replies: ReplyHub, jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.watch, "AT_ONCE_BYTES", 1)
    reply = await died_with(jobs, replies, START, WORDS, logged=True)
    await jobs.finish(a_job(id="job-1"), 1, State.DONE)
    for now_s in (0, ENDED_S, 3 * ENDED_S):
        await watch.look(now_s)
    assert await reply.frames() == [START, WORDS]

    for now_s in (3 * ENDED_S + 1, 4 * ENDED_S + 1):
        await watch.look(now_s)
    with pytest.raises(Unavailable) as caught:
        await reply.frames()
    assert caught.value.code == "reply_lost"


async def test_a_job_that_nobody_can_read_is_no_reason_to_look_after_none(
    watch: Watch, replies: ReplyHub, jobs: JobStore, redis: Redis
) -> None:
    job = a_job(id="job-1")
    replies.open(job)
    await jobs.enqueue(job)
    await redis.hset(keys.job("job-1"), "job", b"\xff")
    await redis.delete(job.lane)
    for now_s in (0, MESSAGE_LOST_S):
        await watch.look(now_s)

    assert await redis.llen(job.lane) == 0
