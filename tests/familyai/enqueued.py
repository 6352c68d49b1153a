"""Jobs on their way, step by step."""

import time
from typing import Any

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.job import Job
from familyai.jobs import Claim, Delivery, JobStore, State
from familyai.lanes import Priority
from tests.support import a_job

QUEUE, LANE, WORKER, TTL_S = "chat-fast", "chat-fast.00", "worker-1", 60.0


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


# The line: who waits in which lane, what the fair order knows of it, and what becomes of it


async def counters(redis: Redis) -> dict[str, float]:
    return {lane.decode(): counter for lane, counter in await redis.zrange(keys.service(QUEUE), 0, -1, withscores=True)}


def of_lane(number: int, **fields: Any) -> Job:
    return msgspec.structs.replace(new_job(), lane_number=number, **fields)


async def in_flight(redis: Redis, job: Job, state: str) -> None:
    """What was reserved as it came in."""
    await redis.hset(keys.in_flight(job.member), job.id, f"{state} {job.width} {job.tokens} 1.5")


PRIORITIES = list(Priority)
