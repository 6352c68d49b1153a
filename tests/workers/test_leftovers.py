import json
import time

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.jobs import Delivery, JobStore, State
from familyai.tasks import task_message
from tests.support import a_job
from workers.leftovers import OLD_S, Leftovers

NAMES = keys.unacked("q")


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, record_ttl_s=60)


@pytest.fixture
def leftovers(redis: Redis, jobs: JobStore) -> Leftovers:
    return Leftovers("q", redis, jobs)


async def taken(redis: Redis, jobs: JobStore, job_id: str, state: State, ago_s: float = 2 * OLD_S) -> None:
    """As kombu notes a message that a worker has taken."""
    job = a_job(id=job_id)
    await jobs.enqueue(job)
    await redis.rpop(job.lane)
    if state is not State.QUEUED:
        await jobs.claim(Delivery(job_id, job.lane, job.member), "q", "w")
    if state is State.DONE:
        await jobs.finish(job, 1, State.DONE)
    message = json.dumps([json.loads(task_message(job)), "", job.lane])
    await redis.hset(NAMES["unacked_key"], f"tag of {job_id}", message)
    await redis.zadd(NAMES["unacked_index_key"], {f"tag of {job_id}": time.time() - ago_s})


async def left(redis: Redis) -> set[str]:
    found = await redis.hkeys(NAMES["unacked_key"])
    assert set(found) == set(await redis.zrange(NAMES["unacked_index_key"], 0, -1))
    return {tag.decode().removeprefix("tag of ") for tag in found}


async def test_what_runs_stays_and_so_does_what_was_just_taken(
    leftovers: Leftovers, redis: Redis, jobs: JobStore
) -> None:
    await taken(redis, jobs, "ended", State.DONE)
    await taken(redis, jobs, "runs", State.RUNNING)
    await taken(redis, jobs, "just ended", State.DONE, ago_s=0)
    await taken(redis, jobs, "just taken", State.QUEUED, ago_s=0)
    await leftovers.sweep()

    assert await left(redis) == {"runs", "just ended", "just taken"}
    assert await redis.llen(a_job().lane) == 0


async def test_what_waits_still_is_next_in_a_lane_that_is_not_empty(
    leftovers: Leftovers, redis: Redis, jobs: JobStore
) -> None:
    """The worker was killed between taking the message and claiming its job."""
    await taken(redis, jobs, "waits", State.QUEUED)
    other = a_job(id="other")
    await jobs.enqueue(other)
    await leftovers.sweep()
    await leftovers.sweep()

    messages = [json.loads(message)["headers"]["id"] for message in await redis.lrange(other.lane, 0, -1)]
    assert messages == ["other", "waits"]  # a lane is served from its end
    assert await left(redis) == set()


async def test_a_job_that_nobody_can_read_keeps_no_message(leftovers: Leftovers, redis: Redis, jobs: JobStore) -> None:
    await taken(redis, jobs, "unreadable", State.QUEUED)
    await redis.hset(keys.job("unreadable"), "job", b"\xc1 not msgpack")
    await leftovers.sweep()

    assert await left(redis) == set()


@pytest.mark.parametrize("message", ["", "null", "[]", "[{}]", "no JSON"])
async def test_what_is_no_message_of_ours_goes_as_well(leftovers: Leftovers, redis: Redis, message: str) -> None:
    await redis.hset(NAMES["unacked_key"], "tag", message)
    await redis.zadd(NAMES["unacked_index_key"], {"tag": 1})
    await leftovers.sweep()

    assert await left(redis) == set()


async def test_nothing_left_is_nothing_to_do(leftovers: Leftovers, redis: Redis) -> None:
    await leftovers.sweep()
    assert await left(redis) == set()
