import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.jobs import Delivery, JobStore
from familyai.registry import WorkerRegistry
from familyai.service import ServiceStore
from tests.support import a_job
from tests.workers.delivering import MODEL, arrived, turns_of
from workers.engines import Engine
from workers.pulse import Pulse


class Running:
    """Stands where the server stands: says what runs, and notes what it is told to abandon."""

    def __init__(self, *job_ids: str) -> None:
        self.running = dict.fromkeys(job_ids, 1)
        self.taken = len(job_ids)
        self.abandoned: list[str] = []

    def abandon(self, job_id: str, attempt: int) -> None:
        assert attempt == self.running[job_id]
        self.abandoned.append(job_id)


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, record_ttl_s=60)


async def claimed(jobs: JobStore) -> str:
    job = a_job()
    await jobs.enqueue(job)
    await jobs.claim(Delivery(job.id, job.lane, job.member), "q", "w")
    return job.id


def pulse(redis: Redis, jobs: JobStore, server: Any, healthy: Any = lambda: True, on_dead: Any = lambda: None) -> Pulse:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    engine, service = Engine(app, healthy), ServiceStore(redis)
    return Pulse("q", "w", turns_of(), ["q.00"], server, engine, jobs, service, WorkerRegistry(redis), on_dead)


async def test_a_beat_makes_the_worker_known_and_keeps_records_alive(redis: Redis, jobs: JobStore) -> None:
    job_id = await claimed(jobs)
    await redis.pexpire(keys.job(job_id), 5_000)
    await pulse(redis, jobs, Running(job_id))._beat()
    assert await WorkerRegistry(redis).alive(["q"]) == {"q": {"w"}}
    assert await redis.pttl(keys.job(job_id)) > 50_000


async def test_a_missed_cancel_is_noticed_at_the_next_beat(redis: Redis, jobs: JobStore) -> None:
    kept, cancelled = await claimed(jobs), await claimed(jobs)
    await jobs.cancel(cancelled)
    server = Running(kept, cancelled)
    await pulse(redis, jobs, server)._beat()
    assert server.abandoned == [cancelled]


async def test_an_attempt_that_was_followed_by_another_is_abandoned_even_if_that_is_ours(
    redis: Redis, jobs: JobStore
) -> None:
    server = Running(await claimed(jobs))
    (job_id,) = server.running
    await redis.hset(keys.job(job_id), "attempt", 2)
    await pulse(redis, jobs, server)._beat()

    assert server.abandoned == [job_id]


async def test_a_dead_engine_is_reported_and_no_longer_beats(redis: Redis, jobs: JobStore) -> None:
    dead = asyncio.Event()
    await asyncio.wait_for(pulse(redis, jobs, Running(), lambda: False, dead.set).run(), 10)
    assert dead.is_set()
    assert await WorkerRegistry(redis).alive(["q"]) == {"q": set()}


async def test_a_broker_that_is_gone_does_not_stop_the_pulse(jobs: JobStore, redis: Redis) -> None:
    beats = 0

    class Gone:
        async def beat(self, queue: str, worker: str) -> None:
            nonlocal beats
            beats += 1
            raise ConnectionError("gone")

        async def leave(self, queue: str, worker: str) -> None:
            raise ConnectionError("gone")

    made = pulse(redis, jobs, Running(), healthy=lambda: beats < 1)
    made._registry = Gone()  # type: ignore[assignment]
    await asyncio.wait_for(made.run(), 10)
    assert beats == 1


async def test_a_dead_engines_worker_counts_as_dead_at_once(jobs: JobStore, redis: Redis) -> None:
    made, alive = pulse(redis, jobs, Running(), healthy=lambda: False), WorkerRegistry(redis)
    await alive.beat("q", "w")
    await made.run()

    assert await alive.alive(["q"]) == {"q": set()}


async def test_messages_that_nobody_takes_while_slots_are_free_count_as_a_stuck_consumer(
    redis: Redis, jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.pulse.STUCK_BEATS", 2)
    monkeypatch.setattr("workers.pulse.HEARTBEAT_INTERVAL_S", 0.01)
    await jobs.enqueue(a_job())
    stuck = asyncio.Event()
    await asyncio.wait_for(pulse(redis, jobs, Running(), on_dead=stuck.set).run(), 10)
    assert stuck.is_set()


async def test_a_worker_that_takes_quick_jobs_as_fast_as_it_can_is_not_stuck(redis: Redis, jobs: JobStore) -> None:
    """A batch of embeddings: there is always one more on the queue, and hardly ever one that runs."""
    await jobs.enqueue(a_job())
    server = Running()
    made = pulse(redis, jobs, server)
    await made._beat()
    for _ in range(3):
        server.taken += 1
        await made._beat()
        assert made._idle_beats == 0
    await made._beat()
    assert made._idle_beats == 1


async def test_a_draining_worker_leaves_messages_lying_and_is_not_stuck(redis: Redis, jobs: JobStore) -> None:
    await jobs.enqueue(a_job())
    made = pulse(redis, jobs, Running())
    made.drain()
    await made._beat()
    assert made._idle_beats == 0


async def test_a_full_worker_is_not_stuck(redis: Redis, jobs: JobStore) -> None:
    await jobs.enqueue(a_job())
    made = pulse(redis, jobs, Running())
    for number in range(MODEL.places):
        arrived(made._turns, a_job(lane_number=number))
    await made._beat()
    assert made._idle_beats == 0


async def test_messages_in_a_lane_that_is_at_its_cap_do_not_count(redis: Redis, jobs: JobStore) -> None:
    """There is a place free, but it is kept for others."""
    await jobs.enqueue(a_job())
    made = pulse(redis, jobs, Running())
    for _ in range(MODEL.slots):
        arrived(made._turns, a_job())
    await made._beat()
    assert made._idle_beats == 0


async def test_messages_in_a_lane_that_this_worker_does_not_drain_do_not_count(redis: Redis, jobs: JobStore) -> None:
    await jobs.enqueue(a_job(lane_number=40))
    made = pulse(redis, jobs, Running())
    await made._beat()
    assert made._idle_beats == 0


async def test_ended_jobs_of_workers_that_died_no_longer_count_as_running(redis: Redis, jobs: JobStore) -> None:
    job = a_job()
    await jobs.enqueue(job)
    await jobs.claim(Delivery(job.id, job.lane, job.member), "q", "dead")
    await jobs.cancel(job.id)
    alive = await claimed(jobs)
    await pulse(redis, jobs, Running(alive))._beat()
    assert await redis.hkeys(keys.running("q")) == [alive.encode()]
