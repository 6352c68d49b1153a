"""What it costs to put a job on its queue: Celery's `send_task` in a thread, or one script through redis.asyncio.

The two do not do the same: `send_task` pushes the message and no more, the script also writes the job's record and its
place among the waiting, all of it or none.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time

from redis.asyncio import Redis

from familyai.broker import connect
from familyai.job import Job, new_job_id
from familyai.jobs import JobStore
from familyai.tasks import SERVE, make_app

from .questions import MODEL, Question
from .setup import QUEUE, broker_only

WARM_UP = 50
AT_ONCE = 64

Enqueue = Callable[[Job], Awaitable[object]]


@dataclass
class Cost:
    """Of one way to enqueue: each call alone, and many at once."""

    call_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    burst_calls_per_s: list[float] = field(default_factory=list)


async def compare(count: int, rounds: int) -> dict[str, Cost]:
    """`count` calls of each, the two taking turns call by call, then `rounds` bursts of `AT_ONCE` calls each."""
    async with broker_only() as broker:
        redis = connect(broker.url)
        try:
            return await _compare(broker.url, redis, count, rounds)
        finally:
            await redis.aclose()


async def _compare(broker_url: str, redis: Redis, count: int, rounds: int) -> dict[str, Cost]:
    enqueues: dict[str, Enqueue] = {"send_task in a thread": _celery(broker_url), "one script": _script(redis)}
    costs = {name: Cost() for name in enqueues}
    for enqueue in enqueues.values():
        for _ in range(WARM_UP):
            await enqueue(_job())
    for _ in range(count):
        for name, enqueue in enqueues.items():
            await _call(enqueue, costs[name])
    for _ in range(rounds):
        for name, enqueue in enqueues.items():
            costs[name].burst_calls_per_s.append(await _burst(enqueue))
    return costs


def _celery(broker_url: str) -> Enqueue:
    app = make_app(broker_url)

    async def enqueue(job: Job) -> None:
        kwargs = {"job_id": job.id, "member": job.member, "model": job.model}
        await asyncio.to_thread(app.send_task, SERVE, kwargs=kwargs, task_id=job.id, queue=job.queue)

    return enqueue


def _script(redis: Redis) -> Enqueue:
    return JobStore(redis, record_ttl_s=600).enqueue


async def _call(enqueue: Enqueue, cost: Cost) -> None:
    job = _job()
    cpu_s, begun_s = process_time(), perf_counter()
    await enqueue(job)
    cost.call_s.append(perf_counter() - begun_s)
    cost.cpu_s += process_time() - cpu_s


async def _burst(enqueue: Enqueue) -> float:
    jobs = [_job() for _ in range(AT_ONCE)]
    begun_s = perf_counter()
    await asyncio.gather(*(enqueue(job) for job in jobs))
    return AT_ONCE / (perf_counter() - begun_s)


def _job() -> Job:
    body = Question("enqueue", 8, stream=True).body()
    path = "/v1/chat/completions"
    return Job(
        id=new_job_id(),
        queue=QUEUE,
        model=MODEL,
        member="bench",
        front="bench",
        method="POST",
        path=path,
        body=body,
        created_at_s=time.time(),
    )
