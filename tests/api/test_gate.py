"""Limits that a parent sets: at their edges, over time, from two fronts at once, and against who would evade them."""

import re
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis

from api.gate import Gate
from familyai import keys
from familyai.errors import LimitReached
from familyai.job import Job
from familyai.quota import TOKENS_PER_DAY, TOKENS_PER_MINUTE, Windows
from tests.api.knocking import TOKEN_LIMITS, a_member, asking, end, entered, rationed_job, refused, under_way
from tests.clock import pass_time


async def test_who_has_no_limits_enters(gate: Gate, redis: Redis) -> None:
    jobs = [asking(tokens=10**6, width=8) for _ in range(20)]
    assert await entered([gate], a_member(), jobs) == jobs
    assert await under_way(redis) == {job.id for job in jobs}


async def test_requests_per_minute_to_the_limit_and_not_over(gate: Gate, redis: Redis) -> None:
    member = a_member(requests_per_minute=3)
    for _ in range(3):
        await gate.enter(member, asking())
    error = await refused(gate, member, asking())
    assert (error.status, error.code) == (429, "requests_per_minute")
    assert re.fullmatch(r"You have asked as often as you may in one minute\. Try again in \d+ seconds\.", error.message)
    assert error.retry_after_s == pytest.approx(60, abs=5)
    assert len(await under_way(redis)) == 3


async def test_requests_come_again_when_it_was_said(gate: Gate, redis: Redis) -> None:
    member = a_member(requests_per_minute=3)
    for _ in range(3):
        await gate.enter(member, asking())
    error = await refused(gate, member, asking())
    assert error.retry_after_s is not None
    await pass_time(redis, error.retry_after_s - 5)
    await refused(gate, member, asking())
    await pass_time(redis, 5)
    await gate.enter(member, asking())
    await refused(gate, member, asking())


@pytest.mark.parametrize(("width", "fits"), [(3, True), (4, False)])
async def test_many_prompts_in_one_request_are_many_requests(gate: Gate, width: int, fits: bool) -> None:
    member = a_member(requests_per_minute=5)
    await gate.enter(member, asking(width=2))
    if fits:
        await gate.enter(member, asking(width=width))
    else:
        assert (await refused(gate, member, asking(width=width))).code == "requests_per_minute"


async def test_a_request_wider_than_a_limit_that_was_lowered_is_a_whole_minutes(gate: Gate, redis: Redis) -> None:
    member = a_member(requests_per_minute=3)
    await gate.enter(member, asking(width=8))
    await refused(gate, member, asking())
    await pass_time(redis, 59)
    await refused(gate, member, asking())
    await pass_time(redis, 61)
    await gate.enter(member, asking())


@pytest.mark.parametrize(("limit", "_"), TOKEN_LIMITS)
async def test_tokens_held_back_count_to_the_limit_and_not_over(gate: Gate, redis: Redis, limit: str, _: int) -> None:
    member = a_member(**{limit: 100})
    await gate.enter(member, asking(tokens=60))
    assert (await refused(gate, member, asking(tokens=41))).code == limit
    await gate.enter(member, asking(tokens=40))
    assert (await refused(gate, member, asking(tokens=1))).code == limit
    assert len(await under_way(redis)) == 2


@pytest.mark.parametrize(("limit", "length_s"), TOKEN_LIMITS)
async def test_tokens_used_count_to_the_limit_and_not_over(gate: Gate, redis: Redis, limit: str, length_s: int) -> None:
    member, first = a_member(**{limit: 1000}), asking(tokens=10)
    await gate.enter(member, first)
    await end(redis, first, 600)
    error = await refused(gate, member, asking(tokens=401))
    assert error.message.startswith("You have used all your words for ")
    assert error.retry_after_s == pytest.approx(length_s, rel=0.05)
    await gate.enter(member, asking(tokens=400))


@pytest.mark.parametrize(("limit", "length_s"), TOKEN_LIMITS)
async def test_tokens_come_again_when_it_was_said(gate: Gate, redis: Redis, limit: str, length_s: int) -> None:
    member = a_member(**{limit: 1000})
    await Windows(redis).charge("leo", 1000)
    error = await refused(gate, member, asking(tokens=500))
    assert error.retry_after_s == pytest.approx(1.5 * length_s, rel=0.05)
    assert error.retry_after_s is not None
    await pass_time(redis, error.retry_after_s - 0.1 * length_s)
    await refused(gate, member, asking(tokens=500))
    await pass_time(redis, 0.1 * length_s)
    await gate.enter(member, asking(tokens=500))


async def test_of_several_limits_the_longest_wait_is_said(gate: Gate, redis: Redis) -> None:
    await Windows(redis).charge("leo", 1000)
    error = await refused(gate, a_member(tokens_per_minute=10, tokens_per_day=10), asking(tokens=1))
    assert error.code == "tokens_per_day"
    assert error.message == "You have used all your words for today. Try again in 48 hours."


async def test_a_request_larger_than_a_limit_that_was_lowered_enters_alone_and_owes_the_rest(
    gate: Gate, redis: Redis
) -> None:
    member, small, huge = a_member(tokens_per_minute=100), asking(tokens=1), asking(tokens=5000)
    await gate.enter(member, small)
    await refused(gate, member, huge)
    await end(redis, small, 1)
    await refused(gate, member, huge)
    await pass_time(redis, 120)
    await gate.enter(member, huge)
    await refused(gate, member, asking(tokens=1))
    await end(redis, huge, 5000)
    assert (await refused(gate, member, asking(tokens=1))).retry_after_s == pytest.approx(119, abs=2)


async def test_a_prompt_longer_than_expected_is_owed(gate: Gate, redis: Redis) -> None:
    member, job = a_member(tokens_per_minute=100), asking(tokens=10)
    await gate.enter(member, job)
    await end(redis, job, 500)
    error = await refused(gate, member, asking(tokens=1))
    assert error.retry_after_s == pytest.approx(60 + 48, abs=2)


@pytest.mark.parametrize("asked", [None, 200, 4_000, 10**9])
@pytest.mark.parametrize("width", [1, 8])
async def test_the_longest_answers_for_hours_are_within_the_limit(
    gate: Gate, redis: Redis, width: int, asked: int | None
) -> None:
    """Knocking every five seconds, and taking all that is let through."""
    member, minutes, taken = a_member(tokens_per_minute=1000), 20, 0
    for _ in range(minutes * 12):
        with suppress(LimitReached):
            while True:
                job, tokens = rationed_job(member, width, 20, asked)
                await gate.enter(member, job)
                await end(redis, job, tokens)
                taken += tokens
        await pass_time(redis, 5)
    assert 400 * minutes < taken <= 1000 * (minutes + 1)


@pytest.mark.parametrize("most_wrong", [0, 300])
@pytest.mark.parametrize("seed", range(5))
async def test_no_window_ever_stands_above_its_limit_but_by_what_prompts_were_longer(
    gate: Gate, other_gate: Gate, redis: Redis, seed: int, most_wrong: int
) -> None:
    """Any requests at any times, at two fronts, of which any number run at once and end with whatever may be."""
    chance = Random(seed)  # noqa: S311
    limits: dict[str, Any] = {"tokens_per_minute": 1000, "tokens_per_day": chance.choice([900, 5000, 50_000])}
    member, wrong = a_member(**limits), 0
    under_way: list[tuple[Job, int]] = []
    for _ in range(200):
        if chance.random() < 0.5:
            job, tokens = rationed_job(
                member, chance.choice([1, 1, 2, 8]), chance.randint(0, 300), chance.choice([None, 5, 10**6])
            )
            with suppress(LimitReached):
                await chance.choice([gate, other_gate]).enter(member, job)
                await redis.hset(keys.job(job.id), "state", "queued")
                under_way.append((job, tokens))
        if under_way and chance.random() < 0.5:
            job, tokens = under_way.pop(chance.randrange(len(under_way)))
            longer = chance.randint(0, most_wrong)
            await end(redis, job, chance.choice([tokens, chance.randint(0, tokens)]) + longer)
            wrong += longer
        if chance.random() < 0.4:
            await pass_time(redis, chance.choice([1, 20, 60, 150, 12 * 3600]))
        for window in (TOKENS_PER_MINUTE, TOKENS_PER_DAY):
            assert (await Windows(redis).level(window, "leo")).used <= limits[window.name] + wrong


async def test_speech_takes_no_words(gate: Gate, redis: Redis) -> None:
    await Windows(redis).charge("leo", 1000)
    await gate.enter(a_member(tokens_per_minute=10), asking(tokens=0))
