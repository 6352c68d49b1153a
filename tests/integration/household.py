"""Members who ask real workers, and what they see."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Role
from familyai.catalogue import load_profile
from familyai.job import Job
from familyai.jobs import Description, State
from familyai.lanes import lane_named
from familyai.members import MemberStore
from tests.integration.conftest import Caller, Process, Reply, StartProcess
from tests.support import a_job

ADA, BEN = 0, 1


LIMIT_S = 60.0


WORDS = 4


SHORT_S = 0.02


PATCHED = """
import runpy
{patch}
runpy.run_module("workers", run_name="__main__", alter_sys=True)
"""
"""A worker in which something takes as long as a test needs."""


class Household:
    """Members, by the number of their lane, who ask the workers without a front between."""

    def __init__(self, caller: Caller, redis: Redis, start: StartProcess, folder: Path) -> None:
        self.redis = redis
        self.jobs = caller.jobs
        self._caller = caller
        self._start = start
        self._catalogue = folder / "fair.yaml"
        self._folder = folder

    def open(self, slots: int, reserve_slots: int, queues: Iterable[str] = ("chat-fast",), **fairness: float) -> None:
        """Writes the catalogue of workers that start from now on."""
        model = {"model": "familyai/echo", "engine": "echo", "memory_gb": 0.1}
        models = {queue: {**model, "slots": slots, "reserve_slots": reserve_slots} for queue in queues}
        profile = {"memory_budget_gb": 1, "fairness": {"lanes": 8, **fairness}, "queues": models}
        self._catalogue.write_bytes(orjson.dumps({"profiles": {"fair": profile}}))

    def worker(self, queue: str = "chat-fast") -> Process:
        return self.process("workers", queue, "--port", "PORT")

    def patient_worker(self, polling_interval_s: float) -> Process:
        """Its requests for messages stay pending for so long, unless they are woken."""
        return self.patched_worker(
            f"from kombu.transport.redis import Transport; Transport.polling_interval = {polling_interval_s}"
        )

    def patched_worker(self, patch: str) -> Process:
        (self._folder / "patched_worker.py").write_text(PATCHED.format(patch=patch))
        return self.process("patched_worker", "chat-fast", "--port", "PORT")

    def process(self, *words: str) -> Process:
        return self._start(*words, FAMILYAI_CATALOGUE=str(self._catalogue), FAMILYAI_PROFILE="fair")

    async def ask(
        self, number: int, count: int = 1, *, words: int = WORDS, lasts_s: float = SHORT_S, **fields: Any
    ) -> list[Job]:
        """Jobs of this member, each charged at once with what it will take, unless it says otherwise."""
        return [await self._ask(number, words, lasts_s, fields) for _ in range(count)]

    async def _ask(self, number: int, words: int, lasts_s: float, fields: dict[str, Any]) -> Job:
        width = fields.get("width", 1)
        echo = {"tokens_per_s": (words - 1) / lasts_s}
        message = {"role": "user", "content": " ".join(["word"] * words)}
        body = {"model": "familyai/echo", "messages": [message], "stream": True, "n": width, "echo": echo}
        about = {"queue": "chat-fast", "lane_number": number, "member": f"member-{number}"}
        job = a_job(
            front=self._caller.front,
            path="/v1/chat/completions",
            headers=(("content-type", "application/json"),),
            body=orjson.dumps(body),
            **{**about, "cost": words + 2.0 * words * width, **fields},
        )
        self._caller.replies[job.id] = Reply()
        await self.jobs.enqueue(job)
        return job

    async def answered(self, jobs: Iterable[Job]) -> None:
        async with asyncio.timeout(LIMIT_S):
            for job in jobs:
                await self._caller.replies[job.id].ended.wait()

    async def state(self, job: Job) -> State | None:
        return (await self.jobs.records([job.id]))[0].state

    async def running(self, queue: str = "chat-fast") -> set[str]:
        return {job.decode() for job in await self.redis.hkeys(keys.running(queue))}

    async def begun(self, jobs: Iterable[Job]) -> list[Description]:
        """Their records, in the order in which they were begun."""
        found = [await self.jobs.describe(job.id) for job in jobs]
        return sorted((one for one in found if one and one.claimed_at_s), key=lambda one: one.claimed_at_s or 0.0)

    async def numbers(self, jobs: Iterable[Job]) -> list[int]:
        """Whose they were, in the order in which they were begun."""
        return [lane_named(one.lane).number for one in await self.begun(jobs)]


async def until(condition: Callable[[], Any], what: str) -> None:
    """Waits until a coroutine function says yes; fails by name."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await condition():  # noqa: ASYNC110 (other processes set no events here)
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"never happened: {what}")


def between(order: list[Description], after_s: float, first: str) -> int:
    """How many were begun after this time and before the first of this lane."""
    later = [one for one in order if (one.claimed_at_s or 0.0) > after_s]
    return next(count for count, one in enumerate(later) if one.lane == first)


async def _are_running(household: Household, count: int) -> bool:
    return len(await household.running()) == count


async def _reserved(household: Household, number: int, **more: Any) -> list[Job]:
    """As the gate has let it in: counted as under way."""
    jobs = await household.ask(number, **more)
    for job in jobs:
        await household.redis.hset(keys.in_flight(job.member), job.id, f"w {job.width} 0 {job.created_at_s}")
    return jobs


async def _is(household: Household, job: Job, state: State) -> bool:
    return await household.state(job) is state


async def _was_put_back(redis: Redis) -> bool:
    return "cmdstat_rpush" in await redis.info("commandstats")


async def _served(redis: Redis, job: Job) -> bool:
    return bool(await redis.zscore(keys.service(job.queue), job.lane))


async def _add_members(redis: Redis, catalogue: Path, count: int) -> dict[str, str]:
    store = MemberStore(redis, load_profile(catalogue, "fair"))
    return {f"member{number}": (await store.add(f"member{number}", Role.ADULT))[1] for number in range(count)}


async def _lane_of_a_question(household: Household, front: Process, api_key: str) -> int:
    body = {"model": "chat-fast", "messages": [{"role": "user", "content": "hello there"}]}
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {api_key}"}, timeout=60) as client:
        answer = await client.post(f"{front.url}/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "hello there "
    job = await household.jobs.describe(answer.headers["x-familyai-job-id"])
    assert job is not None
    return lane_named(job.lane).number
