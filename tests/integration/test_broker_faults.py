"""The line to the broker is slow, cut, silent or gone, or the broker is: nobody dies of it, and no answer has a gap."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import orjson
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.broker_users import FRONT, WORKER
from familyai.jobs import State
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess, front_client
from tests.integration.household import until
from tests.integration.proxy import Proxy
from tests.integration.streams import TOKENS_PER_S, Stream, chat
from tests.support import Broker, as_user

PLACES = 3
LATENCY_S = 0.2


@dataclass
class House:
    """A front and a worker, each with a line of its own to the broker."""

    front_line: Proxy
    worker_line: Proxy
    worker: Process
    client: httpx.AsyncClient
    redis: Redis

    @property
    def lines(self) -> list[Proxy]:
        return [self.front_line, self.worker_line]

    def on_lines(self, act: Callable[[Proxy], None]) -> None:
        for line in self.lines:
            act(line)

    async def is_ready(self) -> bool:
        return (await self.client.get("/health/ready")).status_code == 200

    async def is_not_ready(self) -> bool:
        return not await self.is_ready()

    async def serves(self) -> None:
        """A new request is answered, by the worker that was there from the start, as soon as the front says so."""
        await until(self.is_ready, "ready, by itself")
        answer = await self.client.post("/v1/chat/completions", json=chat("still here", 2, stream=False))
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == "still here "
        assert self.worker.popen.poll() is None, "no other process took its place"

    async def is_in(self, stream: Stream, state: State) -> bool:
        return bool(await self.redis.hget(keys.job(stream.job_id), "state") == state.encode())

    async def refuses(self) -> None:
        answer = await self.client.post("/v1/chat/completions", json=chat("anybody there?", 2))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "broker_down")

    @asynccontextmanager
    async def streaming(self, *words: int) -> AsyncIterator[list[Stream]]:
        """Streams of so many words that have begun; after the block they are read to their ends, and were whole."""
        streams = [Stream(self.client, f"client {number}", count) for number, count in enumerate(words)]
        async with asyncio.TaskGroup() as group:
            for one in streams:
                group.create_task(one.read())
            for one in streams:
                await one.has(5)
            yield streams
        for one in streams:
            one.check()
            assert await self.redis.hget(keys.job(one.job_id), "attempt") == b"1", "nobody took it from its worker"


def write_catalogue(folder: Path, **limits: float) -> Path:
    model = {"model": "familyai/echo", "engine": "echo", "memory_gb": 0.1, "slots": PLACES, "reserve_slots": 0}
    profile = {"memory_budget_gb": 1, "limits": limits, "queues": {"chat-fast": model}}
    catalogue = folder / "small.yaml"
    catalogue.write_bytes(orjson.dumps({"profiles": {"echo": profile}}))
    return catalogue


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Of a household with three places."""
    return environment | {"FAMILYAI_CATALOGUE": str(write_catalogue(tmp_path))}


@pytest.fixture
def impatient(environment: dict[str, str], tmp_path: Path) -> None:
    """Streams wait two seconds for the broker."""
    write_catalogue(tmp_path, broker_wait_s=2)


@pytest.fixture
def lines(broker: Broker) -> Iterator[list[Proxy]]:
    """The front's and the worker's."""
    with ExitStack() as stack:
        yield [stack.enter_context(Proxy(broker.port).running()) for _ in range(2)]


@pytest.fixture
def slow(lines: list[Proxy]) -> None:
    """Before anything is started."""
    for line in lines:
        line.delay(LATENCY_S)


@pytest.fixture
async def house(
    start_process: StartProcess, lines: list[Proxy], members: MemberStore, redis: Redis
) -> AsyncIterator[House]:
    front_line, worker_line = lines
    worker = start_process("workers", "chat-fast", "--port", "PORT", **behind(worker_line, WORKER))
    async with front_client(partial(start_process, **behind(front_line, FRONT)), members) as client:
        yield House(front_line, worker_line, worker, client, redis)


def behind(line: Proxy, user: str) -> dict[str, str]:
    return {"FAMILYAI_BROKER_URL": as_user(user, f"redis://127.0.0.1:{line.port}")}


async def test_a_slow_line_from_the_start(slow: None, house: House) -> None:
    async with house.streaming(30, 30):
        await house.serves()


async def test_a_line_that_becomes_slow(house: House) -> None:
    async with house.streaming(300, 300) as streams:
        house.on_lines(lambda line: line.delay(LATENCY_S))
        await house.serves()
        for one in streams:
            await one.goes_on()
        house.on_lines(lambda line: line.delay(0))


async def test_connections_that_break_of_one_or_both_and_again_and_again(house: House) -> None:
    async with house.streaming(300, 300) as streams:
        for broken in ([house.front_line], [house.worker_line], *[house.lines] * 3):
            for line in broken:
                line.reset()
            for one in streams:
                await one.goes_on()
        await house.serves()


@pytest.mark.parametrize("for_s", [5, pytest.param(30, marks=pytest.mark.long)])
async def test_a_broker_that_is_out_of_reach(house: House, for_s: float) -> None:
    async with house.streaming(100, *[words_of(for_s)] * (PLACES - 1)):
        waiting = await queued(house)
        house.on_lines(Proxy.refuse)
        await until(house.is_not_ready, "the front says so")
        await house.refuses()
        await asyncio.sleep(for_s)
        house.on_lines(Proxy.accept)
        await house.serves()
    assert (await waiting).json()["choices"][0]["message"]["content"] == "my turn "


@pytest.mark.parametrize("for_s", [5, 15])
async def test_a_line_that_hangs(house: House, for_s: float) -> None:
    async with house.streaming(100, *[words_of(for_s)] * (PLACES - 1)):
        waiting = await queued(house)
        house.on_lines(Proxy.stall)
        await asyncio.sleep(for_s)
        house.on_lines(Proxy.flow)
        await house.serves()
    assert (await waiting).json()["choices"][0]["message"]["content"] == "my turn "


async def test_a_line_that_hangs_for_good_is_noticed(house: House) -> None:
    async with house.streaming(500):
        house.on_lines(Proxy.stall)
        await until(house.is_not_ready, "the front says so")
        await house.refuses()
        house.on_lines(Proxy.reset)
        house.on_lines(Proxy.flow)
        await house.serves()


async def test_a_worker_that_alone_cannot_reach_the_broker(house: House) -> None:
    """It seems dead: its job is taken back, and is its own again when it returns."""
    stream = Stream(house.client, "somebody", words_of(6))
    reading = asyncio.create_task(stream.read())
    await stream.has(5)
    house.worker_line.refuse()
    await until(lambda: house.is_in(stream, State.QUEUED), "the job is taken back")
    house.worker_line.accept()
    await reading
    stream.check()
    await house.serves()


async def test_a_front_that_alone_cannot_reach_the_broker(house: House) -> None:
    async with house.streaming(words_of(4)):
        house.front_line.refuse()
        await until(house.is_not_ready, "the front says so")
        await asyncio.sleep(4)
        house.front_line.accept()
        await house.serves()


async def test_a_broker_that_is_killed_and_started_again(house: House, broker: Broker) -> None:
    async with house.streaming(20, 80, 80):
        broker.kill()
        await house.refuses()
        await asyncio.to_thread(broker.start)
        await house.serves()


async def test_a_broker_that_is_gone_for_too_long_ends_streams_with_an_error(impatient: None, house: House) -> None:
    stream = Stream(house.client, "somebody", 10_000)
    reading = asyncio.create_task(stream.read())
    await stream.has(5)
    house.on_lines(Proxy.refuse)
    await reading
    assert json.loads(stream.received[-1])["error"]["code"] == "broker_down"
    assert "[DONE]" not in stream.received
    house.on_lines(Proxy.accept)
    await house.serves()


def words_of(fault_s: float) -> int:
    """Of a stream that goes on for a few seconds after it."""
    return int(TOKENS_PER_S * (fault_s + 3))


async def queued(house: House) -> Awaitable[httpx.Response]:
    """A request for which there is no place now."""
    waiting = asyncio.create_task(house.client.post("/v1/chat/completions", json=chat("my turn", 2, stream=False)))

    async def stands_in_line() -> bool:
        return bool(await house.redis.hlen(keys.backlog("chat-fast")))

    await until(stands_in_line, "it stands in line")
    return waiting
