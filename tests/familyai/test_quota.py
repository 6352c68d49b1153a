"""Sliding windows: exactly to the limit, over time, by many at once; and when something fits again is what is said."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from familyai.broker import BROKER_ERRORS, connect
from familyai.quota import (
    REQUESTS_PER_MINUTE,
    TOKENS_PER_DAY,
    TOKENS_PER_MINUTE,
    Level,
    Window,
    Windows,
)
from tests.clock import pass_time
from tests.support import free_port

LONG = Window("tests", 10_000)
EPSILON_S = 60
"""More than a test takes; little, of a long window."""


@pytest.fixture
def windows(any_redis: Redis) -> Windows:
    return Windows(any_redis)


async def used(windows: Windows, window: Window, who: str = "leo") -> int:
    return (await windows.level(window, who)).used


async def test_exactly_the_limit_fits(windows: Windows) -> None:
    assert [await windows.hit(LONG, "leo", 1, 3) is None for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(("amount", "fits"), [(4, True), (5, False)])
async def test_amounts_count(windows: Windows, amount: int, fits: bool) -> None:
    assert await windows.hit(LONG, "leo", 6, 10) is None
    assert (await windows.hit(LONG, "leo", amount, 10) is None) is fits


async def test_what_was_refused_is_not_counted(windows: Windows) -> None:
    await windows.hit(LONG, "leo", 3, 3)
    for _ in range(5):
        assert await windows.hit(LONG, "leo", 1, 3)
    assert await used(windows, LONG) == 3


async def test_each_has_windows_of_their_own(windows: Windows) -> None:
    assert await windows.hit(LONG, "leo", 3, 3) is None
    assert await windows.hit(LONG, "mia", 3, 3) is None
    assert await windows.hit(REQUESTS_PER_MINUTE, "leo", 3, 3) is None


async def test_a_changed_limit_finds_what_was_used(windows: Windows) -> None:
    assert await windows.hit(LONG, "leo", 3, 3) is None
    assert await windows.hit(LONG, "leo", 1, 2)
    assert await windows.hit(LONG, "leo", 1, 4) is None
    assert await used(windows, LONG) == 4


async def test_a_window_names_no_amount_and_expires(windows: Windows, any_redis: Redis) -> None:
    await windows.hit(LONG, "leo", 7, 12345)
    assert await any_redis.keys("*") == [b"LIMITS:{familyai/tests/leo}"]
    assert 0 < await any_redis.pttl(b"LIMITS:{familyai/tests/leo}") <= 2 * LONG.length_s * 1000


async def test_of_many_at_once_exactly_the_limit_fit(windows: Windows, any_redis: Redis) -> None:
    fronts = [windows, Windows(any_redis)]
    found = await asyncio.gather(*(fronts[n % 2].hit(LONG, "leo", 1, 10) for n in range(20)))
    assert found.count(None) == 10
    assert await used(windows, LONG) == 10


async def test_the_window_slides(windows: Windows, any_redis: Redis) -> None:
    await windows.hit(LONG, "leo", 1000, 1000)
    await pass_time(any_redis, LONG.length_s)
    assert await used(windows, LONG) == pytest.approx(1000, abs=10)
    await pass_time(any_redis, LONG.length_s / 2)
    assert await used(windows, LONG) == pytest.approx(500, abs=10)
    await pass_time(any_redis, LONG.length_s / 2)
    assert await used(windows, LONG) == 0


@pytest.mark.parametrize(
    "history", [[(900, 0)], [(500, 5_000), (400, 0)], [(1000, 12_000)], [(1000, 12_000), (700, 0)]]
)
@pytest.mark.parametrize("amount", [300, 600, 1000, 5000])
async def test_it_fits_when_it_was_said_and_not_before(
    windows: Windows, any_redis: Redis, history: list[tuple[int, float]], amount: int
) -> None:
    for spent, then_s in history:
        await windows.charge_window(LONG, "leo", spent)
        await pass_time(any_redis, then_s)
    wait_s = (await windows.level(LONG, "leo")).fits_in_s(amount, 1000)
    assert wait_s > EPSILON_S
    await pass_time(any_redis, wait_s - EPSILON_S)
    said_again_s = await windows.hit(LONG, "leo", amount, 1000)
    assert said_again_s == pytest.approx(EPSILON_S, abs=EPSILON_S)
    assert said_again_s is not None
    await pass_time(any_redis, said_again_s)
    assert await windows.hit(LONG, "leo", amount, 1000) is None


async def test_by_the_real_clock_too(windows: Windows) -> None:
    short = Window("short", 1)
    await windows.hit(short, "leo", 3, 3)
    wait_s = await windows.hit(short, "leo", 2, 3)
    assert wait_s is not None
    await asyncio.sleep(wait_s)
    assert await windows.hit(short, "leo", 2, 3) is None


async def test_what_is_owed_keeps_the_next_out_until_it_has_faded(windows: Windows, any_redis: Redis) -> None:
    await windows.charge("leo", 100_000)
    level = await windows.level(TOKENS_PER_MINUTE, "leo")
    assert (level.used, await used(windows, TOKENS_PER_DAY)) == (100_000, 100_000)
    assert level.fits_in_s(1, 40_000) == pytest.approx(60 + 36, abs=1)
    await pass_time(any_redis, 97)
    assert (await windows.level(TOKENS_PER_MINUTE, "leo")).fits_in_s(1, 40_000) == 0
    assert await used(windows, TOKENS_PER_DAY) == 100_000


async def test_charging_nothing_writes_nothing(windows: Windows, any_redis: Redis) -> None:
    await windows.charge("leo", 0)
    assert await any_redis.keys("*") == []


async def test_what_is_given_back_fits_again(windows: Windows) -> None:
    await windows.hit(LONG, "leo", 3, 3)
    await windows.charge_window(LONG, "leo", -2)
    assert [await windows.hit(LONG, "leo", 1, 3) is None for _ in range(3)] == [True, True, False]


async def test_what_is_larger_than_the_limit_needs_an_empty_window_and_fills_it(windows: Windows) -> None:
    assert await windows.hit(LONG, "leo", 8, 3) is None
    assert await used(windows, LONG) == 8
    assert await windows.hit(LONG, "leo", 1, 3)
    assert await windows.hit(LONG, "leo", 8, 3)
    await windows.hit(LONG, "mia", 1, 3)
    assert await windows.hit(LONG, "mia", 8, 3)


async def test_a_broker_that_is_gone_raises_what_it_always_raises() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0", timeout_s=1)
    for asked in (Windows(client).hit(LONG, "leo", 1, 1), Windows(client).charge("leo", 1)):
        with pytest.raises(BROKER_ERRORS):
            await asked
    await client.aclose()


LENGTH_MS = 40


@st.composite
def levels(draw: st.DrawFn) -> Level:
    """Any that the broker can hold: what was counted before expires when the current length of time is over."""
    counts = st.integers(0, 200)
    previous_ttl_ms = draw(st.integers(0, LENGTH_MS))
    current = Level(LENGTH_MS, 0, 0, draw(counts), LENGTH_MS + previous_ttl_ms)
    counted_before = replace(current, previous=draw(counts), previous_ttl_ms=previous_ttl_ms)
    return draw(st.sampled_from([Level(LENGTH_MS), current, counted_before]))


def later(level: Level, ms: int) -> Level:
    """What the broker's script makes of it, `ms` later."""
    left_ms = level.current_ttl_ms - ms
    if left_ms >= LENGTH_MS:
        gone = ms >= level.previous_ttl_ms
        return replace(
            level,
            previous=0 if gone else level.previous,
            previous_ttl_ms=0 if gone else level.previous_ttl_ms - ms,
            current_ttl_ms=left_ms,
        )
    return Level(LENGTH_MS, level.current, left_ms, 0, left_ms + LENGTH_MS) if left_ms > 0 else Level(LENGTH_MS)


@given(levels(), st.integers(1, 300), st.integers(1, 200), st.integers(0, 100))
def test_no_sooner_and_no_later_than_the_formula_says(level: Level, amount: int, most: int, reserved: int) -> None:
    held = level.plus(reserved)
    fits = (ms for ms in range(2 * LENGTH_MS + 1) if later(held, ms).used + min(amount, most) <= most)
    assert held.fits_in_s(amount, most) * 1000 == pytest.approx(next(fits))


@given(levels(), st.integers(0, 100))
def test_what_is_added_is_used_now(level: Level, amount: int) -> None:
    assert level.plus(amount).used == level.used + amount
