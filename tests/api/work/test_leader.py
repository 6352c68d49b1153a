"""What is not over is driven: by one front, again after a failure, and no longer once it is over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest
from redis.asyncio import Redis

from api.front import Front
from api.work import leader
from api.work.leader import Kind, Leader
from familyai import cancel, keys
from familyai.errors import Unavailable
from tests.api.support import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "INTERVAL_S", 0.01)
    monkeypatch.setattr(leader, "REST_S", 0.01)


class Work:
    """Remembers what happened to each piece; `over` holds those that have ended."""

    def __init__(self) -> None:
        self.driven: list[str] = []
        self.stopped: list[str] = []
        self.given_up: dict[str, str] = {}
        self.over: set[str] = set()
        self.failure: Callable[[], Exception] | None = None
        self.tidied: list[str] = []
        self.kind = Kind(self._drive, self._give_up, self._is_over, self._tidy_up)

    async def _drive(self, work_id: str) -> None:
        self.driven.append(work_id)
        if self.failure:
            raise self.failure()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.append(work_id)

    async def _give_up(self, work_id: str, reason: str) -> None:
        self.given_up[work_id] = reason
        self.over.add(work_id)

    async def _tidy_up(self, work_id: str) -> None:
        assert self.driven.count(work_id) == self.stopped.count(work_id), "nobody drives it any more"
        self.tidied.append(work_id)

    async def _is_over(self, work_id: str) -> bool:
        return work_id in self.over


@asynccontextmanager
async def leading(redis: Redis, work: Work, front_id: str = "front-1") -> AsyncIterator[asyncio.Task[None]]:
    front = cast(Front, SimpleNamespace(redis=redis, id=front_id))
    task = asyncio.create_task(Leader(front, {"batch": work.kind}).run())
    try:
        yield task
    finally:
        await cancel.end([task])


async def entries(redis: Redis) -> list[bytes]:
    return cast(list[bytes], await redis.zrange(keys.WORK, 0, -1))


async def test_work_is_driven_until_it_is_over(redis: Redis) -> None:
    work = Work()
    async with leading(redis, work):
        await redis.zadd(keys.WORK, {"batch:1": 1, "batch:2": 2})
        await until(lambda: work.driven == ["1", "2"], "both are driven")
        work.over.add("1")
        await until(lambda: work.stopped == ["1"], "the drive of what is over is stopped")

        async def gone() -> bool:
            return await entries(redis) == [b"batch:2"]

        await until(gone, "its entry is gone")
    assert work.stopped == ["1", "2"]


async def test_what_is_over_is_tidied_up_by_whoever_sees_that(redis: Redis) -> None:
    """Its drive may have been killed between its end and anything it would have deleted."""
    work = Work()
    work.over.add("1")
    await redis.zadd(keys.WORK, {"batch:1": 1, "batch:2": 2})
    async with leading(redis, work):
        await until(lambda: work.tidied == ["1"], "it is tidied up")
        await until(lambda: work.driven == ["2"], "the other is driven")
        work.over.add("2")
        await until(lambda: work.tidied == ["1", "2"], "as is what was driven here")


async def test_only_one_front_drives_and_the_other_takes_over(redis: Redis) -> None:
    here, there = Work(), Work()
    await redis.zadd(keys.WORK, {"batch:1": 1})
    async with leading(redis, here) as first:
        await until(lambda: here.driven == ["1"], "the first drives")
        async with leading(redis, there, "front-2"):
            assert there.driven == []
            await cancel.end([first])
            assert here.stopped == ["1"]
            await until(lambda: there.driven == ["1"], "the second takes over at once")


async def test_work_that_crashes_again_and_again_is_given_up(redis: Redis) -> None:
    work = Work()
    work.failure = lambda: ValueError("a bug")
    await redis.zadd(keys.WORK, {"batch:1": 1})
    async with leading(redis, work):
        await until(lambda: bool(work.given_up), "it is given up")
    assert len(work.driven) == leader.MOST_CRASHES
    assert "ValueError" in work.given_up["1"]


async def test_what_may_pass_is_no_crash(redis: Redis) -> None:
    work = Work()
    work.failure = lambda: Unavailable("the store is down")
    await redis.zadd(keys.WORK, {"batch:1": 1})
    async with leading(redis, work):
        await until(lambda: len(work.driven) > leader.MOST_CRASHES + 1, "it is tried again")
    assert work.given_up == {}


async def test_work_that_cannot_even_be_given_up_harms_no_other(redis: Redis) -> None:
    """A record that this version cannot read, say."""
    work = Work()
    give_up = work.kind.give_up
    asked: list[str] = []

    async def unreadable(work_id: str, reason: str) -> None:
        asked.append(work_id)
        raise ValueError("not a record")

    work.kind.give_up = unreadable
    work.failure = lambda: ValueError("not a record")
    await redis.zadd(keys.WORK, {"batch:1": 1})
    async with leading(redis, work):
        await until(lambda: len(asked) == 2, "it was tried twice to give it up")
        work.failure, work.kind.give_up = None, give_up
        await redis.zadd(keys.WORK, {"batch:2": 2})
        await until(lambda: "2" in work.driven, "the next one is driven")


async def test_entries_of_a_kind_nobody_knows_are_dropped(redis: Redis) -> None:
    await redis.zadd(keys.WORK, {"riddle:1": 1})
    async with leading(redis, Work()):

        async def gone() -> bool:
            return await entries(redis) == []

        await until(gone, "the entry is gone")


async def test_a_leader_whose_lease_went_to_another_stops(redis: Redis) -> None:
    work = Work()
    await redis.zadd(keys.WORK, {"batch:1": 1})
    async with leading(redis, work):
        await until(lambda: work.driven == ["1"], "it drives")
        await redis.set(keys.LEADER, "front-2")
        await until(lambda: work.stopped == ["1"], "it stops")
