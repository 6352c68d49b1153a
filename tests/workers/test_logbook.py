import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from familyai import cancel, keys
from familyai.frame import Body, End, Frame, Start
from familyai.job_log import Entry, JobLog, Logged
from familyai.jobs import Claim
from tests.support import a_job
from workers.logbook import Logbook, Page

LIMIT_S = 20


class Wire(JobLog):
    """Can be made to fail, before or after the broker has heard it."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, kept_s=60)
        self.fails: list[tuple[str, Exception]] = []
        self.failed, self.wrote = asyncio.Event(), asyncio.Event()

    async def append(self, entries: list[Entry]) -> None:
        when, error = self.fails.pop(0) if self.fails and entries else ("", None)
        if when != "before":
            await super().append(entries)
            self.wrote.set()
        if error is not None:
            self.failed.set()
            raise error


@pytest.fixture
def wire(redis: Redis) -> Wire:
    return Wire(redis)


@pytest.fixture
async def book(wire: Wire) -> AsyncIterator[Logbook]:
    made = Logbook(wire, most_bytes=10_000)
    task = asyncio.create_task(made.run())
    yield made
    await cancel.end([task])


def claim(attempt: int = 1, **fields: Any) -> Claim:
    return Claim(a_job(id="job-1", **{"logged": True} | fields), attempt, 0.0)


def start(attempt: int = 1) -> Start:
    return Start("job-1", attempt, 0, 200, (), "w", 0.0)


def body(seq: int, data: bytes = b"x") -> Body:
    return Body("job-1", 1, seq, data)


async def told(wire: Wire) -> Logged:
    return (await wire.read({"job-1": "0-0"})).get("job-1", Logged())


async def write(book: Logbook, *frames: Frame) -> None:
    for frame in frames:
        book.put(frame)
    await asyncio.wait_for(book.close("job-1"), LIMIT_S)


async def test_an_answer_is_in_its_log_when_its_job_ends(book: Logbook, wire: Wire, redis: Redis) -> None:
    book.open(claim())
    frames = (start(), body(1), End("job-1", 1, 2))
    await write(book, *frames)

    assert (await told(wire)).frames == frames
    assert await redis.xlen(keys.log("job-1")) == 1, "one entry for what was there together"


async def test_nobody_s_answer_is_not_kept(book: Logbook, wire: Wire) -> None:
    book.open(claim(logged=False))
    await write(book, start(), body(1))

    assert await told(wire) == Logged()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_broker_that_is_away_gets_it_later_and_once(book: Logbook, wire: Wire, when: str) -> None:
    wire.fails = [(when, RedisConnectionError("gone")), (when, RedisConnectionError("gone"))]
    book.open(claim())
    book.put(start())
    await asyncio.wait_for(wire.failed.wait(), LIMIT_S)
    await write(book, body(1), End("job-1", 1, 2))

    assert (await told(wire)).frames == (start(), body(1), End("job-1", 1, 2))


async def test_what_a_killed_broker_forgot_is_written_again(book: Logbook, wire: Wire, redis: Redis) -> None:
    book.open(claim())
    book.put(start())
    book.put(body(1))
    await asyncio.wait_for(wire.wrote.wait(), LIMIT_S)
    await redis.delete(keys.log("job-1"))
    wire.fails = [("before", RedisConnectionError("killed"))]
    await write(book, body(2), End("job-1", 1, 3))

    assert (await told(wire)).frames == (start(), body(1), body(2), End("job-1", 1, 3))


async def test_who_was_taken_for_dead_says_nothing_more(book: Logbook, wire: Wire) -> None:
    await wire.append([Entry("job-1", 2, 0, b"")])
    book.open(claim())
    await write(book, start(), body(1))

    assert (await told(wire)).frames == ()


async def test_an_answer_that_is_too_long_is_not_kept_at_all(book: Logbook, wire: Wire) -> None:
    book.open(claim())
    book.put(start())
    await asyncio.wait_for(wire.wrote.wait(), LIMIT_S)
    await write(book, body(1, b"x" * 10_000), body(2))

    assert await told(wire) == Logged(is_cut=True)


def test_nothing_of_it_gathers_while_the_broker_is_away_either() -> None:
    page = Page(claim(), most_bytes=10_000)
    for seq in range(9):
        page.put(body(seq, b"x" * 4000))

    assert page.is_too_long
    assert (page.due(), page.last_word) == ([], Entry("job-1", 1, 9))


async def test_nobody_waits_for_a_full_broker(book: Logbook, wire: Wire) -> None:
    wire.fails = [("before", OutOfMemoryError("full"))]
    book.open(claim())
    await write(book, start(), End("job-1", 1, 1))

    assert await told(wire) == Logged()
