"""Fronts that are killed: what only they waited for is given up, and nobody else notices."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Role
from familyai.jobs import JobStore, State
from familyai.members import Change, MemberStore
from tests.integration.conftest import Process, StartProcess
from tests.integration.household import until
from tests.support import status_of, wait_until

LONG = {"max_tokens": 10_000, "ignore_eos": True, "echo": {"tokens_per_s": 20}}
"""A whole answer, which sends nothing until its end; so its worker does not hear that nobody listens."""


class Asked:
    """A request whose front will die."""

    def __init__(self, front: Process, key: str, body: dict[str, Any]) -> None:
        self._task = asyncio.create_task(ask(front, key, body))

    async def is_broken(self) -> None:
        with pytest.raises(httpx.TransportError):
            await asyncio.wait_for(self._task, 30)


async def ask(front: Process, key: str, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        return await client.post(f"{front.url}/v1/chat/completions", json=body)


def chat(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "chat-fast", "messages": [{"role": "user", "content": text}], **fields}


@pytest.fixture
async def key(members: MemberStore) -> str:
    """Of a member of whom one request runs at a time."""
    _, made = await members.add("anna", Role.ADULT, Change(own={"running": 1}))
    return made


def start_front(start_process: StartProcess) -> Process:
    front = start_process("api")
    wait_until(lambda: status_of(f"{front.url}/health/ready") == 200, "the front is ready")
    return front


def kill(*processes: Process) -> None:
    for process in processes:
        os.kill(process.popen.pid, signal.SIGKILL)


async def one_runs_and_one_waits(redis: Redis, jobs: JobStore) -> list[str]:
    async def they_do() -> bool:
        states = [job.state for job in await jobs.unfinished("chat-fast")]
        return sorted(states) == [State.QUEUED, State.RUNNING]

    await until(they_do, "one runs and one waits")
    return [job.id for job in await jobs.unfinished("chat-fast")]


async def are_cancelled(jobs: JobStore, job_ids: list[str]) -> bool:
    return [record.state for record in await jobs.records(job_ids)] == [State.CANCELLED] * len(job_ids)


async def is_nothing_left(redis: Redis, job_ids: list[str]) -> bool:
    return not await left(redis, job_ids)


async def left(redis: Redis, job_ids: list[str]) -> dict[str, Any]:
    """What the broker still holds of these jobs, or counts as under way."""
    contents = [await redis.hget(keys.job(job_id), "job") for job_id in job_ids]
    shared = [keys.running("chat-fast"), keys.backlog("chat-fast"), keys.active("chat-fast"), keys.in_flight("anna")]
    found: dict[str, Any] = {key: await redis.type(key) for key in shared if await redis.exists(key)}
    return found | {job_id: content for job_id, content in zip(job_ids, contents, strict=True) if content}


async def test_what_a_dead_front_asked_for_is_given_up_by_another(
    worker: Process, start_process: StartProcess, key: str, redis: Redis
) -> None:
    dies, lives = start_front(start_process), start_front(start_process)
    jobs = JobStore(redis, record_ttl_s=60)
    asked = [Asked(dies, key, chat(**LONG)) for _ in range(2)]
    job_ids = await one_runs_and_one_waits(redis, jobs)
    kill(dies)
    for one in asked:
        await one.is_broken()

    await until(lambda: are_cancelled(jobs, job_ids), "both are given up")
    wait_until(lambda: httpx.get(f"{worker.url}/health", timeout=30).json()["running"] == 0, "the worker is free")
    answer = await ask(lives, key, chat())
    assert answer.status_code == 200
    await until(lambda: is_nothing_left(redis, job_ids), "the broker holds nothing of it")

    async def one_front_is_listed() -> bool:
        return await redis.zcard(keys.FRONTS) == 1

    await until(one_front_is_listed, "the dead one is forgotten")


async def test_a_front_and_a_worker_that_die_together_leave_nothing(
    worker: Process, start_process: StartProcess, key: str, redis: Redis, tmp_path: Path
) -> None:
    front = start_front(start_process)
    jobs = JobStore(redis, record_ttl_s=60)
    large = chat("word " * 200_000, **LONG)
    asked = [Asked(front, key, large) for _ in range(2)]
    job_ids = await one_runs_and_one_waits(redis, jobs)
    bodies = tmp_path / "home" / "blobs" / "requests"
    assert len(list(bodies.iterdir())) == 2
    kill(front, worker)
    for one in asked:
        await one.is_broken()

    start_process("workers", "chat-fast", "--port", "PORT")
    lives = start_front(start_process)
    await until(lambda: are_cancelled(jobs, job_ids), "both are given up")
    answer = await ask(lives, key, chat())
    assert answer.status_code == 200

    async def the_bodies_are_gone() -> bool:
        return not list(bodies.iterdir())

    await until(the_bodies_are_gone, "nothing large stays")
    await until(lambda: is_nothing_left(redis, job_ids), "the broker holds nothing of it")


async def test_a_front_that_stops_leaves_nothing_to_clear_up(
    worker: Process, start_process: StartProcess, redis: Redis
) -> None:
    front = start_front(start_process)
    await until(lambda: redis.zcard(keys.FRONTS), "it is known")
    front.popen.terminate()
    await asyncio.to_thread(front.popen.wait, 20)
    assert await redis.zcard(keys.FRONTS) == 0
