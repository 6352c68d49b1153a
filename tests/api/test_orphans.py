"""A dead front's jobs are withdrawn by whoever notices, and nobody is taken for dead who only could not be heard."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from api.orphans import Orphans
from api.withdraw import Withdrawals
from familyai import keys
from familyai.blobs import BlobStore
from familyai.job import Job, own_blob
from familyai.jobs import Delivery, JobStore, State
from familyai.registry import FRONT_TTL_S, FrontRegistry, WorkerRegistry
from familyai.service import ServiceStore
from tests.support import a_job

QUEUES = ("q", "other")


class Flaky(JobStore):
    """Whose broker goes away after so many cancellations."""

    most = 1000

    async def cancel(self, job_id: str) -> State | None:
        self.most -= 1
        if self.most < 0:
            raise RedisConnectionError
        return await super().cancel(job_id)


class Sweeping:
    """A front's share of it, on a clock that tests move."""

    def __init__(self, redis: Redis, blobs: BlobStore, name: str) -> None:
        self.now_s = 1000.0
        self.jobs = Flaky(redis, record_ttl_s=60)
        self.fronts = FrontRegistry(redis)
        self.withdrawals = Withdrawals(self.jobs, blobs, 60)
        registry, service = WorkerRegistry(redis), ServiceStore(redis)
        self.orphans = Orphans(
            name, self.fronts, self.withdrawals, self.jobs, service, registry, QUEUES, clock=lambda: self.now_s
        )

    async def look(self, after_s: float = 1.0) -> list[str]:
        self.now_s += after_s
        return await self.orphans.look()

    async def settle(self) -> None:
        """As long after its start that it may judge others."""
        await self.look()
        await self.look(FRONT_TTL_S)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path.as_uri())


@pytest.fixture
async def sweeping(redis: Redis, blobs: BlobStore) -> Sweeping:
    made = Sweeping(redis, blobs, "front-1")
    await made.settle()
    return made


@pytest.fixture
async def other(redis: Redis, blobs: BlobStore) -> Sweeping:
    made = Sweeping(redis, blobs, "front-2")
    await made.settle()
    return made


@pytest.fixture
async def dead(redis: Redis) -> str:
    await redis.zadd(keys.FRONTS, {"dead": 1.0})
    return "dead"


async def waiting(redis: Redis, front: str, queue: str = "q") -> Job:
    job = a_job(front=front, queue=queue)
    await redis.hset(keys.in_flight(job.member), job.id, "w 1 70 1.5")
    await JobStore(redis, record_ttl_s=60).enqueue(job)
    return job


async def running(redis: Redis, front: str, worker: str = "w") -> Job:
    job = await waiting(redis, front)
    await JobStore(redis, record_ttl_s=60).claim(Delivery(job.id, job.lane, job.member), "q", worker)
    return job


async def states(redis: Redis, *jobs: Job) -> list[State | None]:
    return [record.state for record in await JobStore(redis, 60).records([job.id for job in jobs])]


async def test_all_that_waits_or_runs_for_a_dead_front_is_withdrawn_and_nothing_else(
    sweeping: Sweeping, dead: str, redis: Redis
) -> None:
    await WorkerRegistry(redis).beat("q", "w")
    lost = [await waiting(redis, dead), await waiting(redis, dead, "other"), await running(redis, dead)]
    kept = [await waiting(redis, "front-1"), await running(redis, "front-2"), await waiting(redis, "")]
    assert await sweeping.look() == [dead]
    await sweeping.orphans.clear_up(dead)

    assert await states(redis, *lost) == [State.CANCELLED] * 3
    assert await states(redis, *kept) == [State.QUEUED, State.RUNNING, State.QUEUED]
    assert await sweeping.look() == []


async def test_the_worker_of_a_running_one_is_told(sweeping: Sweeping, dead: str, redis: Redis) -> None:
    job = await running(redis, dead, worker="w")
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(keys.control("w"))
        await pubsub.get_message(timeout=5)
        await sweeping.orphans.clear_up(dead)
        message = await pubsub.get_message(timeout=5)
    assert message
    assert message["data"] == job.id.encode()


async def test_nothing_stays_behind_where_its_worker_died_too(
    sweeping: Sweeping, dead: str, redis: Redis, blobs: BlobStore
) -> None:
    job = await running(redis, dead, worker="dead too")
    await blobs.put(own_blob(job.id), b"{}")
    await ServiceStore(redis).forget_dead("q", set())  # as another worker does with its every beat
    await sweeping.orphans.clear_up(dead)

    assert await states(redis, job) == [State.CANCELLED]
    assert await redis.hget(keys.job(job.id), "job") is None, "what was asked is gone"
    assert await redis.exists(keys.running("q"), keys.in_flight(job.member)) == 0
    with pytest.raises(FileNotFoundError):
        await blobs.get(own_blob(job.id))


async def test_two_at_once_do_no_harm(sweeping: Sweeping, other: Sweeping, dead: str, redis: Redis) -> None:
    jobs = [await waiting(redis, dead) for _ in range(20)] + [await running(redis, dead) for _ in range(20)]
    await asyncio.gather(sweeping.orphans.clear_up(dead), other.orphans.clear_up(dead))

    assert await states(redis, *jobs) == [State.CANCELLED] * 40
    assert await redis.zscore(keys.FRONTS, dead) is None


async def test_another_goes_on_for_one_that_dies_in_between(
    sweeping: Sweeping, other: Sweeping, dead: str, redis: Redis
) -> None:
    jobs = [await waiting(redis, dead) for _ in range(10)]
    sweeping.jobs.most = 5
    with pytest.raises(RedisConnectionError):
        await sweeping.orphans.clear_up(dead)
    assert sorted(map(str, await states(redis, *jobs))) == ["cancelled"] * 5 + ["queued"] * 5

    assert await other.look() == [dead]
    await other.orphans.clear_up(dead)
    assert await states(redis, *jobs) == [State.CANCELLED] * 10


async def test_one_that_was_away_itself_takes_nobody_for_dead_for_a_while(
    sweeping: Sweeping, dead: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: str) -> None:
        raise RedisConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(sweeping.fronts, "beat", refused)
        assert await sweeping.look() == []
    assert await sweeping.look(FRONT_TTL_S - 1) == []
    assert await sweeping.look(2) == [dead]

    await redis.zadd(keys.FRONTS, {"front-1": 1.0})  # the broker stood still, or this machine slept
    assert await sweeping.look() == []
    assert await sweeping.look(FRONT_TTL_S - 1) == []
    assert await sweeping.look(2) == [dead]


async def test_a_front_that_has_just_started_takes_nobody_for_dead_for_a_while(
    dead: str, redis: Redis, blobs: BlobStore
) -> None:
    new = Sweeping(redis, blobs, "new")
    assert await new.look() == []
    assert await new.look() == []
    assert await new.look(FRONT_TTL_S) == [dead]


async def test_a_front_that_leaves_is_not_cleared_up_after(sweeping: Sweeping, other: Sweeping, redis: Redis) -> None:
    job = await waiting(redis, "front-2")
    await other.orphans.leave()
    assert await redis.zrange(keys.FRONTS, 0, -1) == [b"front-1"]
    assert await sweeping.look() == []
    assert await states(redis, job) == [State.QUEUED]


async def test_a_front_that_could_not_withdraw_leaves_that_to_the_others(
    sweeping: Sweeping, other: Sweeping, redis: Redis
) -> None:
    job = await waiting(redis, "front-2")
    other.jobs.most = 0
    other.withdrawals.add(job.id)
    await other.withdrawals.finish()
    await other.orphans.leave()
    assert await redis.zscore(keys.FRONTS, "front-2")

    await redis.zadd(keys.FRONTS, {"front-2": 1.0})  # time passes
    assert await sweeping.look() == ["front-2"]
    await sweeping.orphans.clear_up("front-2")
    assert await states(redis, job) == [State.CANCELLED]


async def test_what_was_found_is_cleared_up_while_the_beats_go_on(sweeping: Sweeping, dead: str, redis: Redis) -> None:
    job = await waiting(redis, dead)
    cleared = asyncio.create_task(sweeping.orphans.run())
    assert await sweeping.look() == [dead]
    async with asyncio.timeout(10):
        while await redis.zscore(keys.FRONTS, dead):
            await sweeping.look()
    assert await states(redis, job) == [State.CANCELLED]
    assert not cleared.done()
    cleared.cancel()
