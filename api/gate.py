"""The gate before the line: whether a member's limits let a request in, and when they would.

1. It is one of their hours, and not wider than they may ask or run at once, which no waiting would mend: `check_hours`
   and `check_width`, pure. (Whether a model is theirs, the router has decided.)
2. Not more of theirs wait than may. That reserves: whoever comes after counts this request too.
3. Requests per minute, tokens per minute and per day: what was used, what is held back for those that came before, and
   this one are together no more than the limit. What alone is more than a limit enters when nothing else counts.

The front's own batch work asks without end, so it gets in while no more than half of the requests per minute are used:
the others stay for what the member asks meanwhile.

A refusal gives back what it took. Concurrent requests of a member enter in the order in which they reserved, over any
number of fronts, and never more of them than fit.
"""

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Allowance, may_ask_at, spans
from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Profile, Task
from familyai.errors import BadRequest, Forbidden, LimitReached
from familyai.in_flight import WAITING, WAITING_BATCH, Before, InFlight
from familyai.job import Job
from familyai.members import Member
from familyai.quota import REQUESTS_PER_MINUTE, TOKENS_PER_DAY, TOKENS_PER_MINUTE, Window, Windows
from routing.admit import widest

UNKNOWN_PACE_S, LONGEST_PACE_S = 10.0, 600.0
_SAID = {
    REQUESTS_PER_MINUTE: "You have asked as often as you may in one minute.",
    TOKENS_PER_MINUTE: "You have used all your words for this minute.",
    TOKENS_PER_DAY: "You have used all your words for today.",
}


@dataclass(frozen=True)
class _Entry:
    """A job at the gate: whose it is, what holds for it, and the state in which it waits."""

    job: Job
    member: str
    allowance: Allowance
    state: str


class Gate:
    """Every method raises one of BROKER_ERRORS when the broker is gone."""

    def __init__(self, redis: Redis, profile: Profile) -> None:
        self._redis = redis
        self._roles = profile.roles
        self._windows = Windows(redis)
        self._in_flight = InFlight(redis)

    async def enter(self, member: Member, job: Job, *, dispatched: bool = False) -> None:
        """Reserves for a job that is then to be enqueued, or else to `leave`. Raises LimitReached.

        `dispatched`: a piece of a member's batch or transcription job, which the front asks for by itself. What a
        client only wishes to be batch work waits and counts as all it asks.
        """
        allowance, state = member.allowance(self._roles), WAITING
        if dispatched:
            allowance, state = _half_the_requests(allowance), WAITING_BATCH
        entry = _Entry(job, member.name, allowance, state)
        before = await self._join(entry)
        try:
            await self._check_windows(entry, before)
        except BaseException:
            with suppress(*BROKER_ERRORS):  # then it is found to belong to no job
                await self.leave(member.name, job.id)
            raise

    async def tokens_left(self, member: Member) -> int | None:
        """Of the tightest of the member's token limits now; None for a member without."""
        allowance = member.allowance(self._roles)
        limits = {TOKENS_PER_MINUTE: allowance.tokens_per_minute, TOKENS_PER_DAY: allowance.tokens_per_day}
        tight = {window: most for window, most in limits.items() if most}
        if not tight:
            return None
        held = await self._in_flight.tokens(member.name)
        levels = await asyncio.gather(*(self._windows.level(window, member.name) for window in tight))
        return min(most - level.used - held for most, level in zip(tight.values(), levels, strict=True))

    async def leave(self, member: str, job_id: str) -> None:
        """For a job that came no further. It stays counted among the requests of its minute."""
        await self._in_flight.release(member, job_id)

    async def _reserve(self, entry: _Entry, cap: int = 0, *, strict: bool = False) -> Before:
        job = entry.job
        return await self._in_flight.reserve(
            entry.member, job.id, entry.state, job.width, job.tokens, cap=cap, strict=strict
        )

    async def _join(self, entry: _Entry) -> Before:
        before = await self._reserve(entry, entry.allowance.waiting)
        if not before.entered:
            retry_after_s = await self._usual_s(entry.job)
            raise LimitReached(
                f"{before.waiting} of your questions {'is' if before.waiting == 1 else 'are'} waiting already. "
                "Wait until one of them is answered, then ask again.",
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

    async def _check_windows(self, entry: _Entry, before: Before) -> None:
        """Raises LimitReached for the limit that keeps it out longest."""
        asked, *tokens = await asyncio.gather(
            self._hit(entry),
            self._tokens_fit_in_s(TOKENS_PER_MINUTE, entry, entry.allowance.tokens_per_minute, before),
            self._tokens_fit_in_s(TOKENS_PER_DAY, entry, entry.allowance.tokens_per_day, before),
        )
        waits = {REQUESTS_PER_MINUTE: asked, TOKENS_PER_MINUTE: tokens[0], TOKENS_PER_DAY: tokens[1]}
        worst = max(waits, key=waits.__getitem__)
        if not waits[worst]:
            return
        if entry.allowance.requests_per_minute and not asked:
            await self._windows.charge_window(REQUESTS_PER_MINUTE, entry.member, -entry.job.width)
        raise _used_up(worst, waits[worst])

    async def _hit(self, entry: _Entry) -> float:
        most = entry.allowance.requests_per_minute
        return (most and await self._windows.hit(REQUESTS_PER_MINUTE, entry.member, entry.job.width, most)) or 0.0

    async def _tokens_fit_in_s(self, window: Window, entry: _Entry, most: int | None, before: Before) -> float:
        """0 for now. Where reservations are in its way, it is made sure that jobs stand behind them."""
        member, tokens = entry.member, entry.job.tokens
        if not most or not tokens:
            return 0.0
        fits_in_s = (await self._windows.level(window, member)).plus(before.tokens).fits_in_s(tokens, most)
        if not fits_in_s or not before.tokens:
            return fits_in_s
        before = await self._reserve(entry, strict=True)
        level = await self._windows.level(window, member)
        fits_in_s = level.plus(before.tokens).fits_in_s(tokens, most)
        if fits_in_s and not level.fits_in_s(tokens, most):  # what is held back and not used is soon theirs again
            return min(fits_in_s, await self._usual_s(entry.job))
        return fits_in_s


def _half_the_requests(allowance: Allowance) -> Allowance:
    most = allowance.requests_per_minute
    return allowance.model_copy(update={"requests_per_minute": most and max(1, most // 2)})


def check_width(allowance: Allowance, width: int, body: dict[str, Any], task: Task) -> None:
    """What is wider than all that they may ask in a minute, or run at once, could only be let in over their limit.

    Raises BadRequest that names what makes it wide.
    """
    most = min((most for most in (allowance.requests_per_minute, allowance.running) if most), default=width)
    if width > most:
        words = f"This counts as {width} questions at once, and you may ask {most}. Split it."
        raise BadRequest(words, param=widest(body, task, most), code="too_wide")


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
