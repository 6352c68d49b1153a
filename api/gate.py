"""The gate before the line: whether a member's limits let a request in, and when they would.

1. The model is one of theirs, and it is one of their hours: `check_model` and `check_hours`, pure.
2. Not more of theirs wait than may. That reserves: whoever comes after counts this request too.
3. Requests per minute, tokens per minute and per day: what was used, what is held back for those that came before, and
   this one are together no more than the limit. What alone is more than a limit enters when nothing else counts.

A refusal gives back what it took. Concurrent requests of a member enter in the order in which they reserved, over any
number of fronts, and never more of them than fit.
"""

import asyncio
import math
from contextlib import suppress
from datetime import datetime, timedelta

from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Allowance, may_ask_at, spans
from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Profile
from familyai.errors import Forbidden, LimitReached
from familyai.in_flight import WAITING, WAITING_BATCH, Before, InFlight
from familyai.job import Job
from familyai.lanes import Priority
from familyai.members import Member
from familyai.quota import REQUESTS_PER_MINUTE, TOKENS_PER_DAY, TOKENS_PER_MINUTE, Window, Windows
from routing.resolve import Target

UNKNOWN_PACE_S, LONGEST_PACE_S = 10.0, 600.0
_SAID = {
    REQUESTS_PER_MINUTE: "You have asked as often as you may in one minute.",
    TOKENS_PER_MINUTE: "You have used all your words for this minute.",
    TOKENS_PER_DAY: "You have used all your words for today.",
}


class Gate:
    """Every method raises one of BROKER_ERRORS when the broker is gone."""

    def __init__(self, redis: Redis, profile: Profile) -> None:
        self._redis = redis
        self._roles = profile.roles
        self._windows = Windows(redis)
        self._in_flight = InFlight(redis)

    async def enter(self, member: Member, job: Job) -> None:
        """Reserves for a job that is then to be enqueued, or else to `leave`. Raises LimitReached."""
        allowance = member.allowance(self._roles)
        before = await self._reserve(job, member.name, allowance)
        try:
            await self._check_windows(job, member.name, allowance, before)
        except BaseException:
            with suppress(*BROKER_ERRORS):  # then it is found to belong to no job
                await self.leave(member.name, job.id)
            raise

    async def leave(self, member: str, job_id: str) -> None:
        """For a job that came no further. It stays counted among the requests of its minute."""
        await self._in_flight.release(member, job_id)

    async def _reserve(self, job: Job, member: str, allowance: Allowance) -> Before:
        state = WAITING_BATCH if job.priority is Priority.BATCH else WAITING
        before = await self._in_flight.reserve(member, job.id, state, job.width, job.tokens, cap=allowance.waiting)
        if not before.entered:
            retry_after_s = await self._usual_s(job)
            raise LimitReached(
                f"{before.waiting} of your questions are waiting already. Wait until one of them is answered, "
                "then ask again.",
                code="too_many_waiting",
                retry_after_s=retry_after_s,
            )
        return before

    async def _usual_s(self, job: Job) -> float:
        """How long a job like this one takes at the model's measured pace: then one of theirs has moved on."""
        known = await self._redis.hmget(keys.pace(job.queue), ["busy_s", "cost"])
        busy_s, cost = (float(value or 0) for value in known)
        if not busy_s or not cost:
            return UNKNOWN_PACE_S
        return min(LONGEST_PACE_S, max(1.0, job.cost * busy_s / cost))

    async def _check_windows(self, job: Job, member: str, allowance: Allowance, before: Before) -> None:
        """Raises LimitReached for the limit that keeps it out longest."""
        asked, *tokens = await asyncio.gather(
            self._hit(job, member, allowance),
            self._tokens_fit_in_s(TOKENS_PER_MINUTE, job, member, allowance.tokens_per_minute, before),
            self._tokens_fit_in_s(TOKENS_PER_DAY, job, member, allowance.tokens_per_day, before),
        )
        waits = {REQUESTS_PER_MINUTE: asked, TOKENS_PER_MINUTE: tokens[0], TOKENS_PER_DAY: tokens[1]}
        worst = max(waits, key=waits.__getitem__)
        if not waits[worst]:
            return
        if allowance.requests_per_minute and not asked:
            await self._windows.charge_window(REQUESTS_PER_MINUTE, member, -job.width)
        raise _used_up(worst, waits[worst])

    async def _hit(self, job: Job, member: str, allowance: Allowance) -> float:
        most = allowance.requests_per_minute
        return (most and await self._windows.hit(REQUESTS_PER_MINUTE, member, job.width, most)) or 0.0

    async def _tokens_fit_in_s(self, window: Window, job: Job, member: str, most: int | None, before: Before) -> float:
        """0 for now. Where reservations are in its way, it is made sure that jobs stand behind them."""
        if not most or not job.tokens:
            return 0.0
        fits_in_s = (await self._windows.level(window, member)).plus(before.tokens).fits_in_s(job.tokens, most)
        if not fits_in_s or not before.tokens:
            return fits_in_s
        state = WAITING_BATCH if job.priority is Priority.BATCH else WAITING
        before = await self._in_flight.reserve(member, job.id, state, job.width, job.tokens, strict=True)
        return (await self._windows.level(window, member)).plus(before.tokens).fits_in_s(job.tokens, most)


def may_use(allowance: Allowance, target: Target) -> bool:
    """A model is theirs by the name they ask for, or by the queue that serves it."""
    return allowance.models is None or target.queue in allowance.models or target.physical in allowance.models


def check_model(allowance: Allowance, target: Target) -> None:
    """Raises Forbidden that names the models they may use."""
    if not may_use(allowance, target):
        theirs = ", ".join(allowance.models or ()) or "none"
        raise Forbidden(
            f"You may not use '{target.queue}'. You can use: {theirs}.", param="model", code="model_not_allowed"
        )


def check_hours(allowance: Allowance, now: datetime) -> None:
    """`now`: local time, with its zone. Raises Forbidden that says when they may ask again."""
    if allowance.hours is None or may_ask_at(allowance.hours, now.time()):
        return
    opens = opens_at(allowance.hours, now)
    day = "" if opens.date() == now.date() else "tomorrow "
    raise Forbidden(
        f"It is not your time now. You can ask again {day}at {opens:%H:%M}.",
        code="outside_hours",
        retry_after_s=(opens - now).total_seconds(),
    )


def opens_at(hours: str, now: datetime) -> datetime:
    """When the next of their hours begins."""
    days = (now.date(), now.date() + timedelta(days=1))
    openings = (datetime.combine(day, first).astimezone() for day in days for first, _ in spans(hours))
    return min(opening for opening in openings if opening > now)


def _used_up(window: Window, wait_s: float) -> LimitReached:
    return LimitReached(f"{_SAID[window]} Try again in {in_words(wait_s)}.", code=window.name, retry_after_s=wait_s)


def in_words(wait_s: float) -> str:
    """`1 second`, `20 seconds`, `5 minutes`, `3 hours`: never less than it is."""
    for unit, length_s in (("second", 1), ("minute", 60), ("hour", 3600)):
        number = math.ceil(wait_s / length_s)
        if number < 100 or unit == "hour":
            return f"{number} {unit}{'' if number == 1 else 's'}"
    raise AssertionError
