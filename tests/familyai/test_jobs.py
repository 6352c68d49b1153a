"""A job's life, step by step, over both brokers: what may happen, what may happen again, and what may not."""

import asyncio
import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError
from familyai.fair import lift
from familyai.job import JOB_VERSION, encode_job
from familyai.jobs import JobStore, Record, State
from familyai.lanes import Lane, Priority
from tests.familyai.enqueued import (
    LANE,
    PRIORITIES,
    QUEUE,
    TTL_S,
    WORKER,
    cancel,
    claim,
    claimed,
    delivery,
    enqueue,
    finish,
    new_job,
    of_lane,
    queued,
    renew,
    running,
    state,
)


@pytest.fixture
def jobs(any_redis: Redis) -> JobStore:
    return JobStore(any_redis, record_ttl_s=TTL_S)


async def test_a_job_is_recorded_waits_and_has_one_message(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    assert await state(jobs, job) is State.QUEUED
    assert await jobs.waiting(QUEUE) == 1
    (message,) = await any_redis.lrange(LANE, 0, -1)
    assert json.loads(message)["headers"]["id"] == job.id


async def test_an_enqueue_repeated_changes_nothing(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    await jobs.enqueue(job)
    assert await any_redis.llen(LANE) == 1
    assert await jobs.waiting(QUEUE) == 1


async def test_an_enqueue_repeated_late_does_not_start_the_job_anew(jobs: JobStore, any_redis: Redis) -> None:
    job = await running(jobs)
    await jobs.enqueue(job)
    assert await state(jobs, job) is State.RUNNING
    assert await jobs.waiting(QUEUE) == 0


async def test_an_enqueue_that_fails_sends_no_message(jobs: JobStore, any_redis: Redis) -> None:
    await any_redis.set(keys.waiting(LANE), "not a sorted set")
    job = new_job()
    with pytest.raises(Exception, match="WRONGTYPE"):
        await jobs.enqueue(job)
    assert await any_redis.llen(LANE) == 0


async def test_a_claim_hands_over_the_whole_job(jobs: JobStore) -> None:
    job = await queued(jobs)
    claim = await claimed(jobs, job)
    assert claim.job == job
    assert claim.attempt == 1
    assert claim.queue_wait_s >= 2
    assert await jobs.records([job.id]) == [Record(State.RUNNING, WORKER, LANE, 1, job.created_at_s)]


async def test_of_many_claims_one_wins(jobs: JobStore) -> None:
    job = await queued(jobs)
    claims = await asyncio.gather(*(jobs.claim(delivery(job), QUEUE, f"worker-{number}") for number in range(8)))
    assert len([claim for claim in claims if claim]) == 1


async def test_a_second_delivery_to_the_same_worker_gets_nothing(jobs: JobStore) -> None:
    job = await running(jobs)
    assert await jobs.claim(delivery(job), QUEUE, WORKER) is None


async def test_a_delivery_that_lost_its_answer_gets_it_again(jobs: JobStore) -> None:
    job = await queued(jobs)
    first = await jobs.claim(delivery(job, id="delivery-1"), QUEUE, WORKER)
    again = await jobs.claim(delivery(job, id="delivery-1"), QUEUE, WORKER)
    assert first is not None
    assert again is not None
    assert (again.job, again.attempt) == (job, first.attempt)


async def test_a_delivery_does_not_get_an_ended_job_again(jobs: JobStore) -> None:
    job = await queued(jobs)
    await jobs.claim(delivery(job, id="delivery-1"), QUEUE, WORKER)
    await jobs.finish(job, 1, State.DONE)
    assert await jobs.claim(delivery(job, id="delivery-1"), QUEUE, WORKER) is None


async def test_an_unknown_job_cannot_be_claimed(jobs: JobStore) -> None:
    assert await jobs.claim(delivery(new_job()), QUEUE, WORKER) is None


async def test_a_job_whose_record_expired_no_longer_waits(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    await any_redis.delete(keys.job(job.id))
    assert await jobs.claim(delivery(job), QUEUE, WORKER) is None
    assert await jobs.waiting(QUEUE) == 0


async def test_a_job_that_nobody_can_read_has_failed(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    newer = encode_job(msgspec.structs.replace(job, version=JOB_VERSION + 1))
    await any_redis.hset(keys.job(job.id), "job", newer)
    with pytest.raises(DecodeError):
        await jobs.claim(delivery(job), QUEUE, WORKER)
    assert await state(jobs, job) is State.FAILED


async def test_a_job_cancelled_in_the_queue_never_starts(jobs: JobStore) -> None:
    job = await queued(jobs)
    await jobs.cancel(job.id)
    assert await jobs.waiting(QUEUE) == 0
    assert await jobs.claim(delivery(job), QUEUE, WORKER) is None
    assert await state(jobs, job) is State.CANCELLED


async def test_the_worker_hears_that_its_job_is_cancelled(jobs: JobStore, any_redis: Redis) -> None:
    job = await running(jobs)
    async with any_redis.pubsub() as control:
        await control.subscribe(keys.control(WORKER))
        await control.get_message(timeout=5)
        await jobs.cancel(job.id)
        message = await control.get_message(ignore_subscribe_messages=True, timeout=5)
    assert message is not None
    assert message["data"] == job.id.encode()
    assert await state(jobs, job) is State.CANCELLED


@pytest.mark.parametrize("end", [State.DONE, State.FAILED])
async def test_an_ended_job_cannot_be_cancelled(jobs: JobStore, end: State) -> None:
    job = await running(jobs)
    await jobs.finish(job, 1, end)
    await jobs.cancel(job.id)
    assert await state(jobs, job) is end


async def test_cancelling_an_expired_job_does_nothing(jobs: JobStore, any_redis: Redis) -> None:
    job = await queued(jobs)
    await any_redis.delete(keys.job(job.id))
    assert await jobs.cancel(job.id) is None
    assert await state(jobs, job) is None


@pytest.mark.parametrize("end", [State.DONE, State.FAILED, State.CANCELLED])
async def test_the_attempt_that_runs_ends_the_job(jobs: JobStore, end: State) -> None:
    job = await running(jobs)
    await jobs.finish(job, 1, end)
    assert await state(jobs, job) is end


@pytest.mark.parametrize("attempt", [0, 2])
async def test_another_attempt_cannot_end_it(jobs: JobStore, attempt: int) -> None:
    job = await running(jobs)
    await jobs.finish(job, attempt, State.DONE)
    assert await state(jobs, job) is State.RUNNING


async def test_a_queued_job_cannot_end(jobs: JobStore) -> None:
    job = await queued(jobs)
    await jobs.finish(job, 0, State.DONE)
    assert await state(jobs, job) is State.QUEUED


async def test_a_cancelled_job_stays_cancelled_when_its_attempt_ends(jobs: JobStore) -> None:
    job = await running(jobs)
    await jobs.cancel(job.id)
    await jobs.finish(job, 1, State.DONE)
    assert await state(jobs, job) is State.CANCELLED


async def test_the_first_end_stands(jobs: JobStore) -> None:
    job = await running(jobs)
    await jobs.finish(job, 1, State.FAILED)
    await jobs.finish(job, 1, State.DONE)
    assert await state(jobs, job) is State.FAILED


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
    await jobs.cancel(second.id)
    assert await jobs.waiting(QUEUE) == 0
    assert await jobs.waiting("other") == 1


async def test_records_come_in_the_order_asked_and_unknown_jobs_have_none(jobs: JobStore) -> None:
    job = await running(jobs)
    known = Record(State.RUNNING, WORKER, LANE, 1, job.created_at_s)
    assert await jobs.records(["job-a", job.id, "job-b"]) == [Record(None), known, Record(None)]


async def test_a_state_of_another_version_is_no_state(jobs: JobStore, any_redis: Redis) -> None:
    await any_redis.hset(keys.job("job-a"), mapping={"state": "paused", "worker": WORKER})

    assert await jobs.records(["job-a"]) == [Record(None, WORKER)]


async def test_no_jobs_have_no_records(jobs: JobStore) -> None:
    assert await jobs.records([]) == []
    assert await jobs.renew([]) == []


async def test_renewing_an_unknown_job_makes_no_record(jobs: JobStore, any_redis: Redis) -> None:
    assert await jobs.renew(["job-unknown"]) == [Record(None)]
    assert not await any_redis.exists(keys.job("job-unknown"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counters=st.dictionaries(st.integers(0, 5), st.floats(0, 1e6), max_size=6),
    waiting=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(PRIORITIES)), max_size=5),
    gone=st.integers(-1, 5),
    number=st.integers(0, 5),
    priority=st.sampled_from(PRIORITIES),
)
async def test_a_lane_back_from_idle_is_lifted_as_the_pure_rule_says(
    redis: Redis,
    counters: dict[int, float],
    waiting: list[tuple[int, Priority]],
    gone: int,
    number: int,
    priority: Priority,
) -> None:
    await redis.flushdb()
    jobs = JobStore(redis, record_ttl_s=TTL_S)
    now = {Lane(QUEUE, lane, of).name: counter for lane, counter in counters.items() for of in Priority}
    last = now.get(Lane(QUEUE, gone, priority).name, 0.0) if gone >= 0 else 0.0
    for lane, of in waiting:
        await jobs.enqueue(of_lane(lane, priority=of))
    if now:
        await redis.zadd(keys.service(QUEUE), now)
    if gone >= 0:
        await redis.hset(keys.pace(QUEUE), f"last {priority}", Lane(QUEUE, gone, priority).name)
    job = of_lane(number, priority=priority)
    others = {Lane(QUEUE, lane, of).name for lane, of in waiting if of is priority}
    before = now.get(job.lane, 0.0)
    await jobs.enqueue(job)
    after = await redis.zscore(keys.service(QUEUE), job.lane) or 0.0
    expected = before if job.lane in others else lift(before, [now.get(other, 0.0) for other in others], last)
    assert after == pytest.approx(expected)
