"""A job's life, step by step, over both brokers: what may happen, what may happen again, and what may not."""

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError, LimitReached
from familyai.fair import Ticket, lift
from familyai.job import JOB_VERSION, Job, encode_job
from familyai.jobs import Claim, Delivery, Held, JobStore, Record, State
from familyai.lanes import Lane, Priority
from familyai.line import Running
from tests.support import a_job

QUEUE, LANE, WORKER, TTL_S = "chat-fast", "chat-fast.00", "worker-1", 60.0


@pytest.fixture
def jobs(any_redis: Redis) -> JobStore:
    return JobStore(any_redis, record_ttl_s=TTL_S)


def new_job() -> Job:
    return a_job(queue=QUEUE, body=b"a prompt", created_at_s=time.time() - 2)


def delivery(job: Job, **about: Any) -> Delivery:
    return Delivery(job.id, job.lane, job.member, **about)


async def queued(jobs: JobStore) -> Job:
    job = new_job()
    await jobs.enqueue(job)
    return job


async def running(jobs: JobStore) -> Job:
    job = await queued(jobs)
    await claimed(jobs, job)
    return job


async def claimed(jobs: JobStore, job: Job) -> Claim:
    claim = await jobs.claim(delivery(job), QUEUE, WORKER)
    assert claim is not None
    return claim


async def state(jobs: JobStore, job: Job) -> State | None:
    (record,) = await jobs.records([job.id])
    return record.state


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
    assert await jobs.records([job.id]) == [Record(State.RUNNING, WORKER, LANE)]


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


async def enqueue(jobs: JobStore, job: Job) -> None:
    await jobs.enqueue(job)


async def claim(jobs: JobStore, job: Job) -> None:
    await claimed(jobs, job)


async def renew(jobs: JobStore, job: Job) -> None:
    await jobs.renew([job.id])


async def cancel(jobs: JobStore, job: Job) -> None:
    await jobs.cancel(job.id)


async def finish(jobs: JobStore, job: Job) -> None:
    await jobs.finish(job, 1, State.DONE)


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
    known = Record(State.RUNNING, WORKER, LANE)
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


# The line: who waits in which lane, what the fair order knows of it, and what becomes of it


async def counters(redis: Redis) -> dict[str, float]:
    return {lane.decode(): counter for lane, counter in await redis.zrange(keys.service(QUEUE), 0, -1, withscores=True)}


def of_lane(number: int, **fields: Any) -> Job:
    return msgspec.structs.replace(new_job(), lane_number=number, **fields)


async def in_flight(redis: Redis, job: Job, state: str) -> None:
    """What was reserved as it came in."""
    await redis.hset(keys.in_flight(job.member), job.id, f"{state} {job.width} {job.tokens} 1.5")


async def test_a_waiting_job_s_ticket_says_what_the_order_needs(jobs: JobStore, any_redis: Redis) -> None:
    job = of_lane(3, cost=120.0, weight=2.0, width=4)
    await jobs.enqueue(job)
    (ticket,) = await any_redis.hvals(keys.backlog(QUEUE))
    assert msgspec.json.decode(ticket, type=Ticket) == job.ticket
    assert await any_redis.smembers(keys.active(QUEUE)) == {b"chat-fast.03"}


async def test_a_claimed_job_moves_from_the_line_to_the_running(jobs: JobStore, any_redis: Redis) -> None:
    job = await running(jobs)
    assert await any_redis.hlen(keys.backlog(QUEUE)) == 0
    assert await any_redis.smembers(keys.active(QUEUE)) == set()
    entry = msgspec.json.decode(await any_redis.hget(keys.running(QUEUE), job.id), type=Running)
    assert (entry.job_id, entry.worker) == (job.id, WORKER)
    await jobs.finish(job, 1, State.DONE)
    assert await any_redis.hlen(keys.running(QUEUE)) == 0


async def test_a_lane_stays_active_until_its_last_job_has_left(jobs: JobStore, any_redis: Redis) -> None:
    first, second = await queued(jobs), await queued(jobs)
    await claimed(jobs, first)
    assert await any_redis.smembers(keys.active(QUEUE)) == {LANE.encode()}
    await jobs.cancel(second.id)
    assert await any_redis.smembers(keys.active(QUEUE)) == set()


async def test_what_is_in_flight_follows_its_job(jobs: JobStore, any_redis: Redis) -> None:
    job = of_lane(0, tokens=70)
    await in_flight(any_redis, job, "w")
    await jobs.enqueue(job)
    await claimed(jobs, job)
    assert await any_redis.hget(keys.in_flight(job.member), job.id) == b"r 1 70 1.5"
    await jobs.finish(job, 1, State.DONE)
    assert not await any_redis.exists(keys.in_flight(job.member))


async def test_a_job_cancelled_in_the_line_gives_back_at_once(jobs: JobStore, any_redis: Redis) -> None:
    job = of_lane(0)
    await in_flight(any_redis, job, "w")
    await jobs.enqueue(job)
    assert await jobs.cancel(job.id) is State.QUEUED
    assert not await any_redis.exists(keys.in_flight(job.member))


async def test_a_running_job_that_is_cancelled_gives_back_when_it_has_been_charged(
    jobs: JobStore, any_redis: Redis
) -> None:
    job = of_lane(0)
    await in_flight(any_redis, job, "w")
    await jobs.enqueue(job)
    await claimed(jobs, job)
    assert await jobs.cancel(job.id) is State.RUNNING
    assert await any_redis.exists(keys.in_flight(job.member))
    await jobs.finish(job, 1, State.CANCELLED)
    assert not await any_redis.exists(keys.in_flight(job.member))
    assert await any_redis.hlen(keys.running(QUEUE)) == 0


@pytest.mark.parametrize(("in_use", "width", "is_held"), [(0, 9, False), (2, 1, False), (2, 2, True), (3, 1, True)])
async def test_no_more_of_a_member_run_than_may(
    jobs: JobStore, any_redis: Redis, in_use: int, width: int, is_held: bool
) -> None:
    """A job wider than all that may run does run, alone: else it never would."""
    for _ in range(in_use):
        other = msgspec.structs.replace(new_job(), queue="vision")
        await in_flight(any_redis, other, "w")
        await jobs.enqueue(other)
        await jobs.claim(delivery(other), "vision", WORKER)
    job = await queued(jobs)
    claim = await jobs.claim(delivery(job, width=width, most_running=3), QUEUE, WORKER)
    assert isinstance(claim, Held) is is_held
    assert await state(jobs, job) is (State.QUEUED if is_held else State.RUNNING)
    assert await jobs.waiting(QUEUE) == int(is_held)


async def test_what_a_dead_process_left_in_flight_holds_nobody_up(jobs: JobStore, any_redis: Redis) -> None:
    await in_flight(any_redis, new_job(), "r")
    job = await queued(jobs)
    assert isinstance(await jobs.claim(delivery(job, most_running=1), QUEUE, WORKER), Claim)


async def test_the_line_has_an_end(any_redis: Redis) -> None:
    jobs = JobStore(any_redis, record_ttl_s=TTL_S, most_waiting=2)
    for _ in range(2):
        await queued(jobs)
    with pytest.raises(LimitReached, match="waiting"):
        await queued(jobs)
    assert await jobs.waiting(QUEUE) == 2


async def test_what_expired_in_the_line_makes_room(any_redis: Redis) -> None:
    jobs = JobStore(any_redis, record_ttl_s=TTL_S, most_waiting=1)
    await jobs.enqueue(of_lane(0, created_at_s=time.time() - 2 * TTL_S))
    await queued(jobs)
    assert await jobs.waiting(QUEUE) == 1


PRIORITIES = list(Priority)


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


async def test_the_pace_is_kept_of_whole_answers_and_the_newer_count_more(jobs: JobStore, any_redis: Redis) -> None:
    for cost, busy_s in ((100.0, 1.0), (100.0, 3.0), (100.0, 0.0)):
        job = of_lane(0, cost=cost)
        await jobs.enqueue(job)
        await claimed(jobs, job)
        await jobs.finish(job, 1, State.DONE, busy_s)
    busy_s, cost = map(float, await any_redis.hmget(keys.pace(QUEUE), ["busy_s", "cost"]))
    assert 2.0 < busy_s / cost * 100 < 3.0


async def test_a_job_is_described_without_its_content(jobs: JobStore) -> None:
    job = await running(jobs)
    described = await jobs.describe(job.id)
    assert described is not None
    assert (described.member, described.model, described.lane) == (job.member, job.model, LANE)
    assert (described.state, described.worker, described.attempt) == (State.RUNNING, WORKER, 1)
    assert described.created_at_s == pytest.approx(job.created_at_s)
    assert described.ended_at_s is None
    assert await jobs.describe("job-unknown") is None


async def test_a_job_whose_turn_it_was_goes_back_to_the_head(jobs: JobStore, any_redis: Redis) -> None:
    first, _ = await queued(jobs), await queued(jobs)
    await any_redis.rpop(LANE)
    await jobs.push_again(first.id, at_head=True)
    assert json.loads(await any_redis.rpop(LANE))["headers"]["id"] == first.id


async def test_lanes_with_messages(jobs: JobStore, any_redis: Redis) -> None:
    await jobs.enqueue(of_lane(1))
    await jobs.enqueue(of_lane(2, priority=Priority.BATCH))
    await any_redis.rpop("chat-fast.01")
    assert await jobs.lanes_with_messages(QUEUE) == {"chat-fast.02.batch"}
