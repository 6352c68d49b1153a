import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

import api.events
from api.events import BEGINNING, HEARTBEAT, after, events
from familyai import keys
from familyai.errors import BadRequest

JOB = "transcription-1"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.events, "BLOCK_S", 0.05)
    monkeypatch.setattr(api.events, "HEARTBEAT_S", 0.1)


@pytest.fixture
async def running(redis: Redis) -> None:
    await redis.hset(keys.transcription(JOB), "status", "running")


async def tell(redis: Redis, kind: str) -> str:
    added: bytes = await redis.xadd(keys.transcription_events(JOB), {"type": kind, "data": b'{"id":1}'})
    return added.decode()


async def next_event(stream: AsyncIterator[bytes]) -> bytes:
    while (piece := await asyncio.wait_for(anext(stream), 10)) == HEARTBEAT:
        pass
    return piece


def test_where_to_go_on() -> None:
    assert after(None) == after("") == BEGINNING
    assert after("1700000000000-3") == "1700000000000-3"
    assert after(f"{2**64 - 1}-0") == f"{2**64 - 1}-0"
    for wrong in ("$", "now", "1-2-3", "-1", "0-0\n", "9" * 30, f"{2**64}-0", f"0-{2**64}"):
        with pytest.raises(BadRequest):
            after(wrong)


@pytest.mark.usefixtures("running")
async def test_replayed_then_followed_to_the_end(redis: Redis, broker_url: str) -> None:
    first = await tell(redis, "job.running")
    stream = events(broker_url, JOB, BEGINNING, asyncio.Event())
    assert await next_event(stream) == f'id: {first}\nevent: job.running\ndata: {{"id":1}}\n\n'.encode()
    second = await tell(redis, "job.failed")
    assert (await next_event(stream)).startswith(f"id: {second}\n".encode())
    with pytest.raises(StopAsyncIteration):
        await next_event(stream)


@pytest.mark.usefixtures("running")
async def test_silence_is_filled_with_comments(broker_url: str) -> None:
    stream = events(broker_url, JOB, BEGINNING, asyncio.Event())
    assert await asyncio.wait_for(anext(stream), 10) == HEARTBEAT


@pytest.mark.usefixtures("running")
async def test_it_ends_with_the_front(broker_url: str) -> None:
    stopping = asyncio.Event()
    stream = events(broker_url, JOB, BEGINNING, stopping)
    stopping.set()
    with pytest.raises(StopAsyncIteration):
        await next_event(stream)


async def test_nothing_comes_after_the_end(redis: Redis, broker_url: str) -> None:
    last = await tell(redis, "job.completed")
    await redis.hset(keys.transcription(JOB), "status", "completed")
    assert [event async for event in events(broker_url, JOB, last, asyncio.Event())] == []


async def test_a_job_that_is_gone_has_no_events(broker_url: str) -> None:
    assert [event async for event in events(broker_url, JOB, BEGINNING, asyncio.Event())] == []


@pytest.mark.usefixtures("running")
async def test_who_leaves_leaves_no_connection(redis: Redis, broker_url: str) -> None:
    before = {client["id"] for client in await redis.client_list()}
    stream = events(broker_url, JOB, BEGINNING, asyncio.Event())
    await anext(stream)
    assert {client["id"] for client in await redis.client_list()} - before
    await stream.aclose()  # type: ignore[attr-defined]
    for _ in range(200):
        if not {client["id"] for client in await redis.client_list()} - before:
            return
        await asyncio.sleep(0.01)
    pytest.fail("its connection stays")
