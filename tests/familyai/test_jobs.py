"""A job's life, step by step, over both brokers: what may happen, what may happen again, and what may not."""

import asyncio
import json
import time

import msgspec
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError
from familyai.job import JOB_VERSION, Job, encode_job
from familyai.jobs import Claim, JobStore, Record, State
from tests.support import a_job

QUEUE, WORKER, TTL_S = "chat-fast", "worker-1", 60.0


@pytest.fixture
def jobs(any_redis: Redis) -> JobStore:
    return JobStore(any_redis, record_ttl_s=TTL_S)


def new_job() -> Job:
    return a_job(queue=QUEUE, body=b"a prompt", created_at_s=time.time() - 2)


async def queued(jobs: JobStore) -> Job:
    job = new_job()
    await jobs.enqueue(job)
    return job


async def running(jobs: JobStore) -> Job:
    job = await queued(jobs)
    await claimed(jobs, job)
    return job


async def claimed(jobs: JobStore, job: Job) -> Claim:
    claim = await jobs.claim(job.id, QUEUE, WORKER)
    assert claim is not None
    return claim


async def state(jobs: JobStore, job: Job) -> State | None:
    (record,) = await jobs.records([job.id])
    return record.state


async def test_a_job_is_recorded_waits_and_has_one_message(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    assert await state(jobs, job) is State.QUEUED
    assert await jobs.waiting(QUEUE) == 1
    (message,) = await any_redis.lrange(QUEUE, 0, -1)
    assert json.loads(message)["headers"]["id"] == job.id


async def test_an_enqueue_repeated_changes_nothing(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    await jobs.enqueue(job)
    assert await any_redis.llen(QUEUE) == 1
    assert await jobs.waiting(QUEUE) == 1


async def test_an_enqueue_repeated_late_does_not_start_the_job_anew(jobs: JobStore, any_redis: Redis) -> None:
    job = await running(jobs)
    await jobs.enqueue(job)
    assert await state(jobs, job) is State.RUNNING
    assert await jobs.waiting(QUEUE) == 0


async def test_an_enqueue_that_fails_sends_no_message(jobs: JobStore, any_redis: Redis) -> None:
    await any_redis.set(keys.waiting(QUEUE), "not a sorted set")
    job = new_job()
    with pytest.raises(Exception, match="WRONGTYPE"):
        await jobs.enqueue(job)
    assert await any_redis.llen(QUEUE) == 0


async def test_a_claim_hands_over_the_whole_job(jobs: JobStore) -> None:
    job = await queued(jobs)
    claim = await claimed(jobs, job)
    assert claim.job == job
    assert claim.attempt == 1
    assert claim.queue_wait_s >= 2
    assert await jobs.records([job.id]) == [Record(State.RUNNING, WORKER)]


async def test_of_many_claims_one_wins(jobs: JobStore) -> None:
    job = await queued(jobs)
    claims = await asyncio.gather(*(jobs.claim(job.id, QUEUE, f"worker-{number}") for number in range(8)))
    assert len([claim for claim in claims if claim]) == 1


async def test_a_second_delivery_to_the_same_worker_gets_nothing(jobs: JobStore) -> None:
    job = await running(jobs)
    assert await jobs.claim(job.id, QUEUE, WORKER) is None


async def test_a_delivery_that_lost_its_answer_gets_it_again(jobs: JobStore) -> None:
    job = await queued(jobs)
    first = await jobs.claim(job.id, QUEUE, WORKER, "delivery-1")
    again = await jobs.claim(job.id, QUEUE, WORKER, "delivery-1")
    assert first is not None
    assert again is not None
    assert (again.job, again.attempt) == (job, first.attempt)


async def test_a_delivery_does_not_get_an_ended_job_again(jobs: JobStore) -> None:
    job = await queued(jobs)
    await jobs.claim(job.id, QUEUE, WORKER, "delivery-1")
    await jobs.finish(job.id, 1, State.DONE)
    assert await jobs.claim(job.id, QUEUE, WORKER, "delivery-1") is None


async def test_an_unknown_job_cannot_be_claimed(jobs: JobStore) -> None:
    assert await jobs.claim("job-unknown", QUEUE, WORKER) is None


async def test_a_job_whose_record_expired_no_longer_waits(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    await any_redis.delete(keys.job(job.id))
    assert await jobs.claim(job.id, QUEUE, WORKER) is None
    assert await jobs.waiting(QUEUE) == 0


async def test_a_job_that_nobody_can_read_has_failed(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    newer = encode_job(msgspec.structs.replace(job, version=JOB_VERSION + 1))
    await any_redis.hset(keys.job(job.id), "job", newer)
    with pytest.raises(DecodeError):
        await jobs.claim(job.id, QUEUE, WORKER)
    assert await state(jobs, job) is State.FAILED


async def test_a_job_cancelled_in_the_queue_never_starts(jobs: JobStore) -> None:
    job = await queued(jobs)
    await jobs.cancel(job.id, QUEUE)
    assert await jobs.waiting(QUEUE) == 0
    assert await jobs.claim(job.id, QUEUE, WORKER) is None
    assert await state(jobs, job) is State.CANCELLED


async def test_the_worker_hears_that_its_job_is_cancelled(jobs: JobStore, any_redis: Redis) -> None:
    job = await running(jobs)
    async with any_redis.pubsub() as control:
        await control.subscribe(keys.control(WORKER))
        await control.get_message(timeout=5)
        await jobs.cancel(job.id, QUEUE)
        message = await control.get_message(ignore_subscribe_messages=True, timeout=5)
    assert message is not None
    assert message["data"] == job.id.encode()
    assert await state(jobs, job) is State.CANCELLED


@pytest.mark.parametrize("end", [State.DONE, State.FAILED])
async def test_an_ended_job_cannot_be_cancelled(jobs: JobStore, end: State) -> None:
    job = await running(jobs)
    await jobs.finish(job.id, 1, end)
    await jobs.cancel(job.id, QUEUE)
    assert await state(jobs, job) is end


async def test_cancelling_an_expired_job_takes_it_off_the_waiting(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    await any_redis.delete(keys.job(job.id))
    await jobs.cancel(job.id, QUEUE)
    assert await jobs.waiting(QUEUE) == 0
    assert await state(jobs, job) is None


@pytest.mark.parametrize("end", [State.DONE, State.FAILED, State.CANCELLED])
async def test_the_attempt_that_runs_ends_the_job(jobs: JobStore, end: State) -> None:
    job = await running(jobs)
    await jobs.finish(job.id, 1, end)
    assert await state(jobs, job) is end


@pytest.mark.parametrize("attempt", [0, 2])
async def test_another_attempt_cannot_end_it(jobs: JobStore, attempt: int) -> None:
    job = await running(jobs)
    await jobs.finish(job.id, attempt, State.DONE)
    assert await state(jobs, job) is State.RUNNING


async def test_a_queued_job_cannot_end(jobs: JobStore) -> None:
    job = await queued(jobs)
    await jobs.finish(job.id, 0, State.DONE)
    assert await state(jobs, job) is State.QUEUED


async def test_a_cancelled_job_stays_cancelled_when_its_attempt_ends(jobs: JobStore) -> None:
    job = await running(jobs)
    await jobs.cancel(job.id, QUEUE)
    await jobs.finish(job.id, 1, State.DONE)
    assert await state(jobs, job) is State.CANCELLED


async def test_the_first_end_stands(jobs: JobStore) -> None:
    job = await running(jobs)
    await jobs.finish(job.id, 1, State.FAILED)
    await jobs.finish(job.id, 1, State.DONE)
    assert await state(jobs, job) is State.FAILED


async def enqueue(jobs: JobStore, job: Job) -> None:
    await jobs.enqueue(job)


async def claim(jobs: JobStore, job: Job) -> None:
    await claimed(jobs, job)


async def renew(jobs: JobStore, job: Job) -> None:
    await jobs.renew([job.id])


async def cancel(jobs: JobStore, job: Job) -> None:
    await jobs.cancel(job.id, QUEUE)


async def finish(jobs: JobStore, job: Job) -> None:
    await jobs.finish(job.id, 1, State.DONE)


@pytest.mark.parametrize(
    "steps", [(enqueue,), (enqueue, claim), (enqueue, claim, renew), (enqueue, cancel), (enqueue, claim, finish)]
)
async def test_every_step_sets_the_expiry_anew(jobs: JobStore, any_redis: Redis, steps: tuple) -> None:  # type: ignore[type-arg]
    job = new_job()
    for step in steps:
        await any_redis.pexpire(keys.job(job.id), 5_000)
        await step(jobs, job)
    assert TTL_S * 1000 - 5_000 < await any_redis.pttl(keys.job(job.id)) <= TTL_S * 1000


@pytest.mark.parametrize("steps", [(enqueue, cancel), (enqueue, claim, cancel), (enqueue, claim, finish)])
async def test_the_content_leaves_with_the_end(jobs: JobStore, any_redis: Redis, steps: tuple) -> None:  # type: ignore[type-arg]
    job = new_job()
    for step in steps:
        await step(jobs, job)
    record = await any_redis.hgetall(keys.job(job.id))
    assert b"job" not in record
    assert not any(b"a prompt" in value for value in record.values())


async def test_waiting_counts_are_each_queue_s_own(jobs: JobStore) -> None:
    first, second = await queued(jobs), await queued(jobs)
    await jobs.enqueue(msgspec.structs.replace(new_job(), queue="other"))
    assert await jobs.waiting(QUEUE) == 2
    await claimed(jobs, first)
    assert await jobs.waiting(QUEUE) == 1
    await jobs.cancel(second.id, QUEUE)
    assert await jobs.waiting(QUEUE) == 0
    assert await jobs.waiting("other") == 1


async def test_records_come_in_the_order_asked_and_unknown_jobs_have_none(jobs: JobStore) -> None:
    job = await running(jobs)
    assert await jobs.records(["job-a", job.id, "job-b"]) == [Record(None), Record(State.RUNNING, WORKER), Record(None)]


async def test_a_state_of_another_version_is_no_state(jobs: JobStore, any_redis: Redis) -> None:
    await any_redis.hset(keys.job("job-a"), mapping={"state": "paused", "worker": WORKER})

    assert await jobs.records(["job-a"]) == [Record(None, WORKER)]


async def test_no_jobs_have_no_records(jobs: JobStore) -> None:
    assert await jobs.records([]) == []
    assert await jobs.renew([]) == []


async def test_renewing_an_unknown_job_makes_no_record(jobs: JobStore, any_redis: Redis) -> None:
    assert await jobs.renew(["job-unknown"]) == [Record(None)]
    assert not await any_redis.exists(keys.job("job-unknown"))
