"""Fronts and workers that are stopped and started anew, one after another: nobody who asks sees any of it."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Role
from familyai.jobs import JobStore
from familyai.members import Change, MemberStore
from familyai.registry import WorkerRegistry
from tests.integration.conftest import Process, StartProcess
from tests.integration.household import until
from tests.support import wait_until
from workers.engines.echo import expected_words

CLIENTS = 20
WORDS = 15
START_S = 90
"""So long a process may take to start on a machine that is busy with all these clients."""
CHAT = "/v1/chat/completions"


def chat(text: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "chat-fast", "messages": [{"role": "user", "content": text}], "max_tokens": WORDS}
    return body | {"ignore_eos": True, "echo": {"tokens_per_s": 15}} | fields


class NotHere(Exception):
    """This front takes no requests any more; another does."""


@dataclass
class Client:
    """Asks one thing after another, of the front that took the last, or of another when that one is gone."""

    number: int
    http: httpx.AsyncClient
    fronts: list[str]
    answers: int = 0

    async def ask_until(self, enough: asyncio.Event) -> None:
        """And once more after that, so that everybody has asked those that were started last."""
        is_last = False
        while not is_last:
            is_last = enough.is_set()
            text = f"{self.number} asks for the {self.answers}th time, naïvely, of 東京"
            assert await self._ask(text) == "".join(expected_words(text, WORDS))
            self.answers += 1

    async def _ask(self, text: str) -> str:
        ask = self._stream if (self.number + self.answers) % 2 else self._whole
        for url in self.fronts * 3:
            try:
                return await ask(url, text)
            except NotHere:
                self.fronts = [*self.fronts[1:], self.fronts[0]]
        pytest.fail("no front takes requests")

    async def _whole(self, url: str, text: str) -> str:
        async with taken(self.http, url, chat(text)) as reply:
            return str(json.loads(await reply.aread())["choices"][0]["message"]["content"])

    async def _stream(self, url: str, text: str) -> str:
        async with aclosing(words(self.http, url, chat(text))) as said:
            return "".join([word async for _, word in said])


@asynccontextmanager
async def taken(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
    """The beginning of an answer. Raises NotHere where the front has not taken the request."""
    try:
        reply = await http.send(http.build_request("POST", url + CHAT, json=body), stream=True)
    except httpx.TransportError as error:
        raise NotHere from error
    async with aclosing(reply):
        if reply.status_code == 503 and json.loads(await reply.aread())["error"]["code"] == "stopping":
            raise NotHere
        assert reply.status_code == 200, await reply.aread()
        yield reply


async def words(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> AsyncIterator[tuple[str, str]]:
    """The job's id and a word, until the stream has come to its good end; fails for any other."""
    async with taken(http, url, body | {"stream": True}) as reply:
        data = ""
        async for line in reply.aiter_lines():
            data = line.removeprefix("data: ") if line.startswith("data: ") else data
            if line.startswith("data: {"):
                event = json.loads(data)
                assert "error" not in event, event
                yield reply.headers["x-familyai-job-id"], event["choices"][0]["delta"].get("content", "")
        assert data == "[DONE]"


class Household:
    """Two fronts and two workers of one queue."""

    def __init__(self, start: StartProcess, http: httpx.AsyncClient) -> None:
        self._start = start
        self._http = http
        self.workers = [self._worker() for _ in range(2)]
        self.fronts = [self._front() for _ in range(2)]

    async def ready(self) -> None:
        for worker in self.workers:
            await is_healthy(worker)
        for front in self.fronts:
            await is_healthy(front)
            await self.is_ready(front)

    async def renew_all(self) -> None:
        """Stops each and starts it anew, one after another."""
        for front in self.fronts:
            await stopped(front)
            again = self._front(front.port)
            await is_healthy(again)
            await self.is_ready(again)
        for worker in self.workers:
            await stopped(worker)
            await is_healthy(self._worker())

    async def is_ready(self, front: Process, ready: bool = True) -> None:
        """Waits until it says so, or, with `ready` False, until it no longer does."""

        async def says_so() -> bool:
            try:
                return ready is ((await self._http.get(f"{front.url}/health/ready")).status_code == 200)
            except httpx.TransportError:
                return not ready

        await until(says_so, f"ready: {ready}")

    def _front(self, port: int | None = None) -> Process:
        return self._start("api", port=port, healthy=False)

    def _worker(self) -> Process:
        return self._start("workers", "chat-fast", "--port", "PORT", healthy=False)


async def is_healthy(process: Process) -> None:
    await asyncio.to_thread(wait_until, process.healthy, "it is healthy", START_S)


async def stopped(process: Process) -> None:
    process.popen.terminate()
    assert await asyncio.to_thread(process.popen.wait, 40) in (0, -signal.SIGTERM)


async def counted(redis: Redis) -> int:
    """How many requests were answered, over all days and members."""
    total = 0
    for day in await redis.keys(keys.usage("*")):
        for field, value in (await redis.hgetall(day)).items():
            total += int(value) if json.loads(field)[2] == "requests" else 0
    return total


@pytest.fixture
async def http(members: MemberStore) -> AsyncIterator[httpx.AsyncClient]:
    """A member's; each request is a connection of its own, which only a front that takes it accepts."""
    plenty = dict.fromkeys(("requests_per_minute", "tokens_per_minute", "tokens_per_day", "running"))
    _, key = await members.add("anna", Role.ADULT, Change(own=plenty | {"waiting": 2 * CLIENTS}))
    headers, limits = {"authorization": f"Bearer {key}"}, httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=60) as made:
        yield made


@pytest.fixture
async def household(start_process: StartProcess, http: httpx.AsyncClient) -> Household:
    made = Household(start_process, http)
    await made.ready()
    return made


@pytest.mark.timeout(240)
async def test_everybody_is_answered_once_while_all_are_renewed(
    household: Household, http: httpx.AsyncClient, redis: Redis
) -> None:
    urls = [front.url for front in household.fronts]
    clients = [Client(number, http, urls[:: 1 if number % 2 else -1]) for number in range(CLIENTS)]
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as asking:
        for client in clients:
            asking.create_task(client.ask_until(enough))
        await household.renew_all()
        enough.set()

    async def nothing_is_under_way() -> bool:
        return not await redis.exists(keys.running("chat-fast"), keys.backlog("chat-fast"))

    await until(nothing_is_under_way, "all has ended")
    assert await counted(redis) == sum(client.answers for client in clients), "none was made twice"
    assert len((await WorkerRegistry(redis).alive(["chat-fast"]))["chat-fast"]) == 2
    assert await redis.zcard(keys.FRONTS) == 2


async def test_a_stopping_front_takes_nobody_new_and_goes_on_with_what_runs(
    household: Household, http: httpx.AsyncClient
) -> None:
    front, _ = household.fronts
    async with aclosing(words(http, front.url, chat("word", max_tokens=10_000))) as said:
        await anext(said)
        front.popen.terminate()
        await household.is_ready(front, ready=False)
        for _ in range(10):
            await anext(said)


async def test_what_a_stopping_worker_cannot_finish_is_finished_by_another(
    impatient: None, household: Household, http: httpx.AsyncClient, redis: Redis
) -> None:
    said, job_id = [], ""
    async for job_id, word in words(http, household.fronts[0].url, chat("one naïve fox, 東京", max_tokens=300)):
        said.append(word)
        if len(said) == 7:
            job = await JobStore(redis, 60).describe(job_id)
            assert job
            (serving,) = [one for one in household.workers if f".{one.popen.pid}." in (job.worker or "")]
            serving.popen.terminate()
    assert "".join(said) == "".join(expected_words("one naïve fox, 東京", 300))
    job = await JobStore(redis, 60).describe(job_id)
    assert job
    assert job.attempt == 2
    assert await asyncio.to_thread(serving.popen.wait, 20) == 0
