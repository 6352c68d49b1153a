"""The line: who waits in which lane, what the fair order knows of it, and what becomes of it."""

import json
import time

import msgspec
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import LimitReached
from familyai.fair import Ticket
from familyai.jobs import Claim, Held, JobStore, State
from familyai.lanes import Priority
from familyai.line import Running
from tests.familyai.enqueued import (
    LANE,
    QUEUE,
    TTL_S,
    WORKER,
    claimed,
    delivery,
    in_flight,
    new_job,
    of_lane,
    queued,
    running,
    state,
)


@pytest.fixture
def jobs(any_redis: Redis) -> JobStore:
    return JobStore(any_redis, record_ttl_s=TTL_S)


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
