"""What workers and fronts know of one another: counters, the line as it stands, and who is gone."""

import time

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.catalogue import Engine, Fairness, Model
from familyai.job import Job
from familyai.jobs import Delivery, JobStore, State
from familyai.past import NOTHING
from familyai.service import ServiceStore
from tests.support import a_job

MODEL = Model(model="m", engine=Engine.ECHO, memory_gb=0.1, slots=2, reserve_slots=1)


@pytest.fixture
def service(any_redis: Redis) -> ServiceStore:
    return ServiceStore(any_redis)


@pytest.fixture
def jobs(any_redis: Redis) -> JobStore:
    return JobStore(any_redis, record_ttl_s=60)


async def test_what_is_charged_adds_up_over_all_who_charge(service: ServiceStore) -> None:
    await service.exchange("q", {"q.00": 5.0, "q.01": 1.5})
    assert await service.exchange("q", {"q.00": -2.0}) == {"q.00": 3.0, "q.01": 1.5}
    assert await service.exchange("other", {}) == {}


async def test_lanes_that_once_were_are_still_drained(service: ServiceStore) -> None:
    assert await service.lane_count(8) == 8
    assert await service.lane_count(4) == 8
    assert await service.lane_count(32) == 32


async def test_the_line_as_it_stands(service: ServiceStore, jobs: JobStore) -> None:
    waits, runs = a_job(lane_number=3, cost=9.0), a_job(lane_number=4, cost=7.0)
    for job in (waits, runs):
        await jobs.enqueue(job)
    await jobs.claim(Delivery(runs.id, runs.lane, runs.member), "q", "w")
    await service.exchange("q", {runs.lane: 7.0})
    line = await service.line("q", MODEL, Fairness(), workers=1)
    assert line.waiting == (waits.ticket,)
    assert [(entry.job_id, entry.cost, entry.worker) for entry in line.running] == [(runs.id, 7.0, "w")]
    assert line.counters["q.04"] == 7.0
    assert line.seconds_per_cost is None
    await jobs.finish(runs, 1, State.DONE, busy_s=3.5)
    line = await service.line("q", MODEL, Fairness(), workers=1)
    assert line.running == ()
    assert line.seconds_per_cost == pytest.approx(0.5)


async def test_what_is_told_again_under_its_number_counts_once(service: ServiceStore) -> None:
    for _ in range(2):
        await service.exchange("q", {"q.00": 5.0}, teller="w", number=7)
    assert await service.exchange("q", {"q.00": 1.0}, teller="w", number=8) == {"q.00": 6.0}
    assert await service.exchange("q", {"q.00": 1.0}, teller="another", number=8) == {"q.00": 7.0}


async def test_expired_jobs_leave_the_line_of_a_lane_that_nobody_uses(
    service: ServiceStore, jobs: JobStore, any_redis: Redis
) -> None:
    old, young = a_job(lane_number=7, created_at_s=time.time() - 100), a_job(lane_number=8)
    for job in (old, young):
        await jobs.enqueue(job)
    await service.forget_expired("q", record_ttl_s=60)
    assert await any_redis.hkeys(keys.backlog("q")) == [young.id.encode()]
    assert await any_redis.smembers(keys.active("q")) == {b"q.08"}
    assert not await any_redis.exists(keys.waiting(old.lane))


async def test_what_another_version_wrote_is_left_out(service: ServiceStore, jobs: JobStore, any_redis: Redis) -> None:
    job = a_job()
    await jobs.enqueue(job)
    await any_redis.hset(keys.backlog("q"), "job-old", b'["of", "yore"]')
    await any_redis.hset(keys.running("q"), "job-older", b"?")
    line = await service.line("q", MODEL, Fairness(), workers=1)
    assert (line.waiting, line.running) == ((job.ticket,), ())
    await service.forget_dead("q", {"w"})
    assert not await any_redis.exists(keys.running("q"))


async def under_way(jobs: JobStore, redis: Redis, worker: str) -> Job:
    """A job that this worker runs, and that counts for its member."""
    job = a_job()
    await redis.hset(keys.in_flight(job.member), job.id, "w 1 70 1.5")
    await jobs.enqueue(job)
    await jobs.claim(Delivery(job.id, job.lane, job.member), "q", worker)
    return job


async def test_ended_jobs_of_dead_workers_no_longer_run_and_hold_nothing_back(
    service: ServiceStore, jobs: JobStore, any_redis: Redis
) -> None:
    cancelled, expired = [await under_way(jobs, any_redis, "dead") for _ in range(2)]
    kept = await under_way(jobs, any_redis, "alive")
    await jobs.cancel(cancelled.id)
    await jobs.cancel(kept.id)
    await any_redis.delete(keys.job(expired.id))
    await service.forget_dead("q", {"alive"})
    assert await any_redis.hkeys(keys.running("q")) == [kept.id.encode()]
    assert await any_redis.hkeys(keys.in_flight(kept.member)) == [kept.id.encode()], "its worker charges it first"


async def test_what_a_dead_worker_left_unfinished_stays_listed_until_somebody_ends_it_or_goes_on(
    service: ServiceStore, jobs: JobStore, any_redis: Redis
) -> None:
    job, taken_back = [await under_way(jobs, any_redis, "dead") for _ in range(2)]
    await jobs.take_back(taken_back.id, 1, NOTHING)
    await any_redis.hset(keys.in_flight(taken_back.member), taken_back.id, "w 1 70 1.5")
    await service.forget_dead("q", set())
    assert [one.id for one in await jobs.unfinished("q")] == [taken_back.id, job.id]
    assert sorted(await any_redis.hkeys(keys.in_flight(job.member))) == sorted(
        [job.id.encode(), taken_back.id.encode()]
    )
