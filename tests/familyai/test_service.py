"""What workers and fronts know of one another: counters, the line as it stands, and who is gone."""

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.catalogue import Engine, Fairness, Model
from familyai.jobs import Delivery, JobStore, State
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


async def test_jobs_of_dead_workers_no_longer_run(service: ServiceStore, jobs: JobStore, any_redis: Redis) -> None:
    lost, kept = a_job(), a_job()
    for job, worker in ((lost, "dead"), (kept, "alive")):
        await jobs.enqueue(job)
        await jobs.claim(Delivery(job.id, job.lane, job.member), "q", worker)
    await service.forget_dead("q", {"alive"})
    assert await any_redis.hkeys(keys.running("q")) == [kept.id.encode()]
