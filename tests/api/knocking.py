"""Members at the gate."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import strategies as st
from redis.asyncio import Redis

from api.gate import Gate
from familyai import keys
from familyai.allowance import Role
from familyai.catalogue import Model, Profile, Task
from familyai.errors import LimitReached
from familyai.in_flight import InFlight
from familyai.job import Job
from familyai.members import Member
from familyai.quota import REQUESTS_PER_MINUTE, TOKENS_PER_DAY, TOKENS_PER_MINUTE, Windows
from routing.estimate import estimate
from routing.ration import rationed
from routing.resolve import resolve
from tests.api.support import PROFILE
from tests.support import a_job

NO_LIMITS: dict[str, Any] = {
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "tokens_per_day": None,
    "waiting": 1000,
}


TOKEN_LIMITS = [("tokens_per_minute", 60), ("tokens_per_day", 24 * 3600)]


def a_member(name: str = "leo", **limits: Any) -> Member:
    """A child with these limits and no others."""
    return Member(name=name, role=Role.CHILD, key_id="k", created_at_s=0.0, own=NO_LIMITS | limits)


def asking(**fields: Any) -> Job:
    return a_job(member="leo", queue="chat", **fields)


async def refused(gate: Gate, member: Member, job: Job) -> LimitReached:
    with pytest.raises(LimitReached) as raised:
        await gate.enter(member, job)
    return raised.value


async def entered(gates: Sequence[Gate], member: Member, jobs: list[Job]) -> list[Job]:
    """Of jobs that come at once through all gates, those that got in."""
    found = await asyncio.gather(
        *(gates[number % len(gates)].enter(member, job) for number, job in enumerate(jobs)), return_exceptions=True
    )
    assert all(error is None or isinstance(error, LimitReached) for error in found)
    return [job for job, error in zip(jobs, found, strict=True) if error is None]


async def end(redis: Redis, job: Job, tokens: int) -> None:
    """As a worker ends a job."""
    if tokens:
        await Windows(redis).charge("leo", tokens)
    await InFlight(redis).release("leo", job.id)


async def under_way(redis: Redis) -> set[str]:
    return {job.decode() for job in await redis.hkeys(keys.in_flight("leo"))}


async def used(redis: Redis, *, requests: int = 0, tokens: int = 0) -> bool:
    windows = Windows(redis)
    levels = [await windows.level(window, "leo") for window in (REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, TOKENS_PER_DAY)]
    return [level.used for level in levels] == [requests, tokens, tokens]


ROOMY = Model.model_validate({"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4})


def rationed_job(member: Member, width: int, input_tokens: int, asked: int | None) -> tuple[Job, int]:
    """A chat as the front lets it through, and the tokens that it takes if all its answers are as long as they may."""
    profile = Profile.model_validate(PROFILE)
    body: dict[str, Any] = {"messages": [{"content": "7" * input_tokens}], "n": width, "max_tokens": asked}
    guess = estimate(body, Task.GENERATE, ROOMY, width)
    allowance = member.allowance(profile.roles)
    let_through, held = rationed(body, "/v1/chat/completions", guess, allowance, ROOMY, width)
    return asking(tokens=held.tokens, width=width), held.input + width * let_through["max_tokens"]


def target(name: str) -> Any:
    return resolve(name, Profile.model_validate(PROFILE))


def at(clock: str, day: int = 4) -> datetime:
    return datetime.fromisoformat(f"2026-03-{day:02d}T{clock}").astimezone()


CLOCK = st.times().map(lambda time: time.strftime("%H:%M"))
