"""What a member has under way: counted before anything enters, given back at its end, dropped when it is nobody's."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.in_flight import LOST_AFTER_S, RUNNING, WAITING, WAITING_BATCH, Before, InFlight

LONG_AGO_S = 1_000_000_000.5


@pytest.fixture
def in_flight(any_redis: Redis) -> InFlight:
    return InFlight(any_redis)


async def entries(redis: Redis) -> dict[str, str]:
    return {job.decode(): entry.decode() for job, entry in (await redis.hgetall(keys.in_flight("leo"))).items()}


async def left_behind(redis: Redis, job_id: str, *, at_s: float = LONG_AGO_S, **record: Any) -> None:
    """A reservation as a front or a worker that died left it, and the job's record, if there is any."""
    await redis.hset(keys.in_flight("leo"), job_id, f"w 1 100 {at_s}")
    if record:
        await redis.hset(keys.job(job_id), mapping=record)


async def test_each_sees_what_came_before(in_flight: InFlight) -> None:
    assert await in_flight.reserve("leo", "a", WAITING, 2, 100) == Before(True, 0, 0)
    assert await in_flight.reserve("leo", "b", WAITING, 3, 10) == Before(True, 2, 100)
    assert await in_flight.reserve("leo", "c", WAITING, 4, 1) == Before(True, 5, 110)
    assert await in_flight.reserve("mia", "d", WAITING, 1, 1) == Before(True, 0, 0)


async def test_an_entry_says_what_the_others_need_to_know(in_flight: InFlight, any_redis: Redis) -> None:
    await in_flight.reserve("leo", "a", WAITING, 2, 100)
    state, width, tokens, at_s = (await entries(any_redis))["a"].split(" ")
    assert (state, width, tokens) == ("w", "2", "100")
    assert float(at_s) == pytest.approx(time.time(), abs=60)
    assert 0 < await any_redis.ttl(keys.in_flight("leo")) <= 24 * 3600


async def test_exactly_as_many_wait_as_may(in_flight: InFlight, any_redis: Redis) -> None:
    entered = [(await in_flight.reserve("leo", str(n), WAITING, 1, 5, cap=3)).entered for n in range(4)]
    assert entered == [True, True, True, False]
    assert await in_flight.reserve("leo", "x", WAITING, 1, 5, cap=3) == Before(False, 3, 15)
    assert set(await entries(any_redis)) == {"0", "1", "2"}


async def test_width_counts(in_flight: InFlight) -> None:
    await in_flight.reserve("leo", "a", WAITING, 2, 0, cap=5)
    assert not (await in_flight.reserve("leo", "b", WAITING, 4, 0, cap=5)).entered
    assert (await in_flight.reserve("leo", "b", WAITING, 3, 0, cap=5)).entered
    assert not (await in_flight.reserve("leo", "c", WAITING, 1, 0, cap=5)).entered


async def test_what_is_wider_than_the_cap_enters_when_nothing_waits(in_flight: InFlight) -> None:
    await in_flight.reserve("leo", "a", WAITING, 1, 0)
    assert not (await in_flight.reserve("leo", "b", WAITING, 9, 0, cap=5)).entered
    await in_flight.release("leo", "a")
    assert (await in_flight.reserve("leo", "b", WAITING, 9, 0, cap=5)).entered


async def test_batch_work_waits_apart_and_what_runs_does_not_wait(in_flight: InFlight) -> None:
    await in_flight.reserve("leo", "a", RUNNING, 1, 7)
    await in_flight.reserve("leo", "b", WAITING_BATCH, 1, 7)
    assert await in_flight.reserve("leo", "c", WAITING, 1, 0, cap=1) == Before(True, 0, 14)
    assert await in_flight.reserve("leo", "d", WAITING_BATCH, 1, 0, cap=1) == Before(False, 1, 14)


async def test_released_is_free_again(in_flight: InFlight) -> None:
    await in_flight.reserve("leo", "a", WAITING, 1, 7, cap=1)
    await in_flight.release("leo", "a")
    await in_flight.release("leo", "a")
    assert await in_flight.reserve("leo", "b", WAITING, 1, 7, cap=1) == Before(True, 0, 0)


async def test_repeated_it_stands_once_and_sees_only_what_came_before(in_flight: InFlight, any_redis: Redis) -> None:
    await in_flight.reserve("leo", "a", WAITING, 1, 5, cap=2)
    first = await in_flight.reserve("leo", "b", WAITING, 1, 7, cap=2)
    before = await entries(any_redis)
    assert await in_flight.reserve("leo", "b", WAITING, 1, 7, cap=2) == first
    assert await in_flight.reserve("leo", "b", WAITING, 1, 7, cap=1) == first
    assert await entries(any_redis) == before
    await in_flight.reserve("leo", "c", WAITING_BATCH, 1, 9)
    assert await in_flight.reserve("leo", "b", WAITING, 1, 7, cap=2) == first


async def test_of_many_at_once_exactly_the_cap_enter(in_flight: InFlight, any_redis: Redis) -> None:
    fronts = [in_flight, InFlight(any_redis)]
    found = await asyncio.gather(*(fronts[n % 2].reserve("leo", str(n), WAITING, 1, 1, cap=6) for n in range(12)))
    assert sum(before.entered for before in found) == 6
    assert sorted(before.tokens for before in found if before.entered) == list(range(6))


@pytest.mark.parametrize(
    ("record", "at_s"),
    [
        ({}, LONG_AGO_S),
        ({"state": "done", "ended_at_s": LONG_AGO_S}, LONG_AGO_S),
        ({"state": "cancelled", "ended_at_s": LONG_AGO_S}, LONG_AGO_S),
    ],
)
async def test_what_nobody_stands_behind_is_in_nobodys_way(
    in_flight: InFlight, any_redis: Redis, record: dict[str, Any], at_s: float
) -> None:
    await left_behind(any_redis, "dead", at_s=at_s, **record)
    assert await in_flight.reserve("leo", "a", WAITING, 1, 0) == Before(True, 1, 100)
    await in_flight.release("leo", "a")
    assert await in_flight.reserve("leo", "a", WAITING, 1, 0, cap=1) == Before(True, 0, 0)
    assert set(await entries(any_redis)) == {"a"}


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_what_waits_or_runs_for_long_stays(in_flight: InFlight, any_redis: Redis, state: str) -> None:
    await left_behind(any_redis, "old", state=state)
    assert not (await in_flight.reserve("leo", "a", WAITING, 1, 0, cap=1)).entered
    assert await in_flight.reserve("leo", "a", WAITING, 1, 0, strict=True) == Before(True, 1, 100)


async def test_what_is_about_to_be_enqueued_stays(in_flight: InFlight, any_redis: Redis) -> None:
    await left_behind(any_redis, "new", at_s=time.time() - LOST_AFTER_S / 2)
    assert not (await in_flight.reserve("leo", "a", WAITING, 1, 0, cap=1)).entered


async def test_what_was_cancelled_a_moment_ago_is_still_to_be_charged(in_flight: InFlight, any_redis: Redis) -> None:
    await left_behind(any_redis, "stopped", state="cancelled", ended_at_s=time.time())
    assert not (await in_flight.reserve("leo", "a", WAITING, 1, 0, cap=1)).entered


async def test_looking_again_drops_what_is_lost_but_not_oneself(in_flight: InFlight, any_redis: Redis) -> None:
    await left_behind(any_redis, "dead")
    assert (await in_flight.reserve("leo", "a", WAITING, 1, 5)).tokens == 100
    assert await in_flight.reserve("leo", "a", WAITING, 1, 5, strict=True) == Before(True, 0, 0)
    assert set(await entries(any_redis)) == {"a"}


async def test_an_entry_of_another_version_locks_nobody_out(in_flight: InFlight, any_redis: Redis) -> None:
    await any_redis.hset(keys.in_flight("leo"), "odd", "what?")
    assert await in_flight.reserve("leo", "a", WAITING, 1, 5, cap=1) == Before(True, 0, 0)
