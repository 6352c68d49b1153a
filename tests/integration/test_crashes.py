"""Workers that are killed in the middle of an answer: their clients see one answer, whole, and nothing else."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import httpx
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.jobs import MOST_ATTEMPTS
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess, front_client
from tests.integration.household import until
from workers.engines.echo import expected_words

TEXT = "one naïve fox, 東京 🎉 and a dog"
WORDS = 120
ENDLESS_WORDS = 2_000
"""More than anybody hears while another worker starts, however slowly."""


class Workers:
    """Processes that serve one queue, of which some are killed."""

    def __init__(self, start: StartProcess, redis: Redis) -> None:
        self._start = start
        self._redis = redis
        self._all: list[Process] = []

    def add(self) -> None:
        self._all.append(self._start("workers", "chat-fast", "--port", "PORT"))

    async def kill_the_one_that_serves(self, job_id: str) -> None:
        serving: list[Process] = []

        async def found() -> bool:
            serving[:] = await self._serving(job_id)
            return bool(serving)

        await until(found, "one of the workers serves it")
        (process,) = serving
        self._all.remove(process)
        os.kill(process.popen.pid, signal.SIGKILL)

    async def _serving(self, job_id: str) -> list[Process]:
        worker = cast(bytes | None, await self._redis.hget(keys.job(job_id), "worker")) or b""
        return [one for one in self._all if f".{one.popen.pid}." in worker.decode()]


@pytest.fixture
def workers(start_process: StartProcess, redis: Redis) -> Workers:
    made = Workers(start_process, redis)
    made.add()
    return made


@pytest.fixture
async def client(
    start_process: StartProcess, workers: Workers, members: MemberStore
) -> AsyncIterator[httpx.AsyncClient]:
    async with front_client(start_process, members) as made:
        yield made


def chat(**fields: Any) -> dict[str, Any]:
    body = {"model": "chat-fast", "messages": [{"role": "user", "content": TEXT}], "max_tokens": WORDS}
    return body | {"ignore_eos": True, "stream": True, "echo": {"tokens_per_s": 20}} | fields


async def events(
    client: httpx.AsyncClient, body: dict[str, Any], after: dict[int, Callable[[str], Awaitable[None]]]
) -> list[str]:
    """What comes, while something is done with the job after so many events."""
    received: list[str] = []
    async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for line in reply.aiter_lines():
            if line.startswith("data: "):
                received.append(line.removeprefix("data: "))
                if (act := after.get(len(received))) is not None:
                    await act(reply.headers["x-familyai-job-id"])
    return received


def choices(received: list[str]) -> list[Any]:
    """Of whole streams, without what differs from one request to the next."""
    assert received[-1] == "[DONE]"
    made = [json.loads(event) for event in received[:-1]]
    assert len({(event["id"], event["created"]) for event in made}) == 1, "one answer, of one time"
    return [event["choices"] for event in made]


def text_of(received: list[str]) -> str:
    return "".join(choice["delta"].get("content", "") for choice, *_ in choices(received))


async def test_another_worker_goes_on_at_the_very_token(client: httpx.AsyncClient, workers: Workers) -> None:
    whole = await events(client, chat(), {})
    workers.add()
    joined = await events(client, chat(), {7: workers.kill_the_one_that_serves})

    assert choices(joined) == choices(whole)
    assert text_of(joined) == "".join(expected_words(TEXT, WORDS))


async def test_an_engine_that_dies_in_a_living_worker_is_followed_by_another(
    client: httpx.AsyncClient, workers: Workers
) -> None:
    workers.add()
    joined = await events(client, chat(echo={"tokens_per_s": 20, "die": True}), {})

    assert text_of(joined) == "".join(expected_words(TEXT, WORDS))


async def test_the_only_worker_is_started_again(client: httpx.AsyncClient, workers: Workers) -> None:
    async def kill_and_start(job_id: str) -> None:
        await workers.kill_the_one_that_serves(job_id)
        await asyncio.to_thread(workers.add)

    joined = await events(client, chat(), {3: kill_and_start, 30: kill_and_start})

    assert text_of(joined) == "".join(expected_words(TEXT, WORDS))


async def test_a_whole_answer_is_made_anew(client: httpx.AsyncClient, workers: Workers, redis: Redis) -> None:
    asking = asyncio.create_task(client.post("/v1/chat/completions", json=chat(stream=False)))
    job_id = await one_that_runs(redis)
    workers.add()
    await workers.kill_the_one_that_serves(job_id)
    answer = (await asking).json()

    assert answer["choices"][0]["message"]["content"] == "".join(expected_words(TEXT, WORDS))
    assert answer["usage"]["completion_tokens"] == WORDS


async def test_what_nobody_can_continue_ends_with_an_error(client: httpx.AsyncClient, workers: Workers) -> None:
    received = await events(client, chat(n=2, max_tokens=ENDLESS_WORDS), {7: workers.kill_the_one_that_serves})

    assert json.loads(received[-1])["error"]["code"] == "worker_lost"
    assert "[DONE]" not in received


async def test_a_job_that_kills_one_worker_after_another_is_set_aside(
    client: httpx.AsyncClient, workers: Workers, redis: Redis
) -> None:
    async def kill(job_id: str) -> None:
        workers.add()
        await workers.kill_the_one_that_serves(job_id)

    received = await events(client, chat(max_tokens=ENDLESS_WORDS), dict.fromkeys(range(2, 2 + MOST_ATTEMPTS), kill))

    assert json.loads(received[-1])["error"]["code"] == "set_aside"
    assert "[DONE]" not in received
    answer = await client.post("/v1/chat/completions", json=chat(stream=False, echo={}))
    assert answer.status_code == 200, "others are served as before"
    assert await redis.zcard(keys.SET_ASIDE) == 1


async def one_that_runs(redis: Redis) -> str:
    job_ids: list[bytes] = []

    async def found() -> bool:
        job_ids[:] = await redis.hkeys(keys.running("chat-fast"))
        return bool(job_ids)

    await until(found, "a job runs")
    return job_ids[0].decode()
