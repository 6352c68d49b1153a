"""The family's books: what each member used of each model on each day. Kept when a member is removed, until it expires.

A day is the household's own, by the local time of the process that counts.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import cast

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.names import folded

WHOLE_UNITS = ("requests", "input_tokens", "output_tokens", "characters")
UNITS = (*WHOLE_UNITS, "audio_seconds")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Of one member, one model and one day. A transcription has seconds, speech has characters, the others tokens."""

    day: str
    member: str
    model: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    audio_seconds: float = 0.0
    characters: int = 0


class UsageStore:
    """Every method raises one of BROKER_ERRORS when the broker is gone."""

    def __init__(self, redis: Redis, usage_days: int) -> None:
        self._redis = redis
        self._kept = timedelta(days=min(usage_days, 36_500))  # a calendar has a first year

    async def add(self, member: str, model: str, units: dict[str, float], day: date | None = None) -> None:
        """Counts it today, or on the day given; a unit that is not one of UNITS is not counted."""
        key = keys.usage((day or today()).isoformat())
        pipe = self._redis.pipeline(transaction=False)
        for unit in UNITS:
            if amount := units.get(unit):
                pipe.hincrbyfloat(key, _field(member, model, unit), amount)
        pipe.expire(key, self._kept)
        await pipe.execute()

    async def between(self, first: date, last: date, member: str | None = None) -> list[Usage]:
        """Of these days, both included, sorted by day, member and model; of one member where it says so.

        One round trip; days of which nothing can be kept any more are not asked for.
        """
        days = list(_days(max(first, today() - self._kept), min(last, today())))
        pipe = self._redis.pipeline(transaction=False)
        for day in days:
            pipe.hgetall(keys.usage(day.isoformat()))
        books = cast(list[dict[bytes, bytes]], await pipe.execute())
        pages = (_page(day.isoformat(), fields) for day, fields in zip(days, books, strict=True))
        return [usage for page in pages for usage in page if member is None or folded(usage.member) == folded(member)]


def today() -> date:
    """By the household's clock."""
    return datetime.now().astimezone().date()


def _field(member: str, model: str, unit: str) -> bytes:
    return msgspec.json.encode([member, model, unit])


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _page(day: str, fields: dict[bytes, bytes]) -> list[Usage]:
    """One day's books."""
    units: dict[tuple[str, str], dict[str, float]] = {}
    for field, value in fields.items():
        member, model, unit = msgspec.json.decode(field, type=tuple[str, str, str])
        units.setdefault((member, model), {})[unit] = _number(unit, float(value))
    return [_usage(day, *who, units[who]) for who in sorted(units)]


def _usage(day: str, member: str, model: str, units: dict[str, float]) -> Usage:
    return msgspec.convert({**units, "day": day, "member": member, "model": model}, Usage)


def _number(unit: str, value: float) -> float:
    return round(value) if unit in WHOLE_UNITS else round(value, 3)
