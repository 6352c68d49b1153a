"""What dead workers leave in kombu's books goes as soon as its job is over, and not before."""

import json

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.job import Job
from familyai.jobs import Delivery, JobStore, State
from familyai.tasks import task_message
from tests.support import a_job
from workers.leftovers import ENDING_S, Leftovers

NOW_S = 1_000_000.0
NAMES = keys.unacked("q")
MESSAGES, INDEX = NAMES["unacked_key"], NAMES["unacked_index_key"]


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, record_ttl_s=60)


@pytest.fixture
def leftovers(redis: Redis, jobs: JobStore) -> Leftovers:
    return Leftovers("q", redis, jobs)


async def delivered(redis: Redis, job: Job, tag: str, at_s: float = NOW_S - ENDING_S) -> None:
    """As kombu notes a message that a worker took."""
    await redis.hset(MESSAGES, tag, json.dumps([json.loads(task_message(job)), "", job.lane]))
    await redis.zadd(INDEX, {tag: at_s})


async def kept(redis: Redis) -> set[bytes]:
    tags = set(await redis.hkeys(MESSAGES))
    assert tags == set(await redis.zrange(INDEX, 0, -1))
    return tags


async def test_messages_stay_while_their_job_waits_or_runs(redis: Redis, jobs: JobStore, leftovers: Leftovers) -> None:
    waits, runs = a_job(), a_job()
    for job in (waits, runs):
        await jobs.enqueue(job)
        await delivered(redis, job, job.id)
    await jobs.claim(Delivery(runs.id, runs.lane, runs.member), "q", "w")

    assert await leftovers.sweep(NOW_S) == 0
    assert await kept(redis) == {waits.id.encode(), runs.id.encode()}


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.CANCELLED])
async def test_a_job_that_has_ended_leaves_no_message(
    redis: Redis, jobs: JobStore, leftovers: Leftovers, state: State
) -> None:
    job, other = a_job(), a_job()
    for one in (job, other):
        await jobs.enqueue(one)
    for tag in ("first", "again"):
        await delivered(redis, job, tag)
    await delivered(redis, other, "other")
    await redis.hset(keys.job(job.id), "state", state)

    assert await leftovers.sweep(NOW_S) == 2
    assert await kept(redis) == {b"other"}


async def test_what_nobody_knows_of_goes_too(redis: Redis, leftovers: Leftovers) -> None:
    await delivered(redis, a_job(), "expired")
    await redis.zadd(INDEX, {"without a message": NOW_S - ENDING_S})
    await redis.hset(MESSAGES, "of another sender", "[]")
    await redis.zadd(INDEX, {"of another sender": NOW_S - ENDING_S})

    assert await leftovers.sweep(NOW_S) == 3
    assert await kept(redis) == set()


async def test_a_worker_has_time_to_acknowledge(redis: Redis, leftovers: Leftovers) -> None:
    await delivered(redis, a_job(), "just now", NOW_S - ENDING_S + 1)

    assert await leftovers.sweep(NOW_S) == 0
    assert await leftovers.sweep(NOW_S + 1) == 1
