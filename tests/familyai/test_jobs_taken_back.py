"""A job whose worker died: once back in its line, by whoever sees it first, with what its client has."""

import asyncio
import json

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.jobs import MOST_ATTEMPTS, Claim, JobStore, State
from familyai.past import NOTHING, Past
from familyai.registry import WorkerRegistry
from tests.familyai.enqueued import (
    LANE,
    QUEUE,
    TTL_S,
    WORKER,
    claimed,
    delivery,
    in_flight,
    of_lane,
    queued,
    running,
    state,
)

PAST = Past(frames=3, outputs=((1, 2), (3,)))


@pytest.fixture
def jobs(any_redis: Redis) -> JobStore:
    return JobStore(any_redis, record_ttl_s=TTL_S)


async def taken(redis: Redis) -> str:
    """The id of the job whose message a worker would get next."""
    message = await redis.rpop(LANE)
    return str(json.loads(message)["headers"]["id"])


async def test_it_waits_at_the_head_of_its_lane_for_another_worker(jobs: JobStore, any_redis: Redis) -> None:
    job = await running(jobs)
    assert await taken(any_redis) == job.id
    await queued(jobs)

    assert await jobs.take_back(job.id, 1, PAST) is State.QUEUED
    assert await taken(any_redis) == job.id
    claim = await jobs.claim(delivery(job), QUEUE, "worker-2")
    assert isinstance(claim, Claim)
    assert (claim.job, claim.attempt, claim.past) == (job, 2, PAST)


async def test_it_counts_as_waiting_and_no_longer_as_running(jobs: JobStore, any_redis: Redis) -> None:
    job = of_lane(0)
    await in_flight(any_redis, job, "w")
    await jobs.enqueue(job)
    await claimed(jobs, job)
    await jobs.take_back(job.id, 1, NOTHING)

    assert await jobs.waiting(QUEUE) == 1
    assert await any_redis.hlen(keys.running(QUEUE)) == 0
    assert (await any_redis.hget(keys.in_flight(job.member), job.id)).startswith(b"w ")
    await claimed(jobs, job)
    assert await jobs.waiting(QUEUE) == 0
    assert (await any_redis.hget(keys.in_flight(job.member), job.id)).startswith(b"r ")


async def test_of_many_who_see_it_one_takes_it_back(jobs: JobStore, any_redis: Redis) -> None:
    job = await running(jobs)
    await taken(any_redis)
    became = await asyncio.gather(*(jobs.take_back(job.id, 1, PAST) for _ in range(8)))

    assert sorted(map(str, became)) == ["None"] * 7 + ["queued"]
    assert await any_redis.llen(LANE) == 1


async def test_a_living_workers_job_is_left_to_it(jobs: JobStore, any_redis: Redis) -> None:
    job = await running(jobs)
    await WorkerRegistry(any_redis).beat(QUEUE, WORKER)

    assert await jobs.take_back(job.id, 1, PAST) is None
    assert await state(jobs, job) is State.RUNNING


@pytest.mark.parametrize("attempt", [0, 2])
async def test_another_attempt_is_not_this_one(jobs: JobStore, attempt: int) -> None:
    job = await running(jobs)

    assert await jobs.take_back(job.id, attempt, PAST) is None
    assert await state(jobs, job) is State.RUNNING


async def test_what_waits_or_has_ended_is_not_taken_back(jobs: JobStore) -> None:
    waits, cancelled, done = await queued(jobs), await running(jobs), await running(jobs)
    await jobs.cancel(cancelled.id)
    await jobs.finish(done, 1, State.DONE)

    for job in (waits, cancelled, done):
        assert await jobs.take_back(job.id, 1, PAST) is None
    assert await jobs.take_back("job-nobody-knows", 1, PAST) is None


async def test_the_dead_workers_end_of_it_changes_nothing(jobs: JobStore) -> None:
    """It was only held up, and comes back."""
    job = await running(jobs)
    await jobs.take_back(job.id, 1, PAST)
    await jobs.finish(job, 1, State.DONE)
    assert await state(jobs, job) is State.QUEUED
    await claimed(jobs, job)
    await jobs.finish(job, 1, State.DONE)
    assert await state(jobs, job) is State.RUNNING
    await jobs.finish(job, 2, State.DONE)
    assert await state(jobs, job) is State.DONE


async def test_after_so_many_attempts_it_is_set_aside(jobs: JobStore, any_redis: Redis) -> None:
    job = of_lane(0)
    await in_flight(any_redis, job, "w")
    await jobs.enqueue(job)
    for attempt in range(1, MOST_ATTEMPTS):
        await claimed(jobs, job)
        assert await jobs.take_back(job.id, attempt, PAST) is State.QUEUED
    await claimed(jobs, job)

    assert await jobs.take_back(job.id, MOST_ATTEMPTS, PAST) is State.FAILED
    assert await jobs.set_aside() == [job.id]
    assert await any_redis.hget(keys.job(job.id), "job") is None, "its content is gone"
    assert await any_redis.hlen(keys.in_flight(job.member)) == 0
    assert await jobs.claim(delivery(job), QUEUE, WORKER) is None
