"""What a member may use: the limits that a parent sets, by role in `queues.yaml`, by member on top of that."""

import re
from datetime import time
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

_SPAN = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")


class Role(StrEnum):
    """Admins manage members; what adults and children may use differs by their roles' allowances alone."""

    ADMIN = "admin"
    ADULT = "adult"
    CHILD = "child"


class Allowance(BaseModel):
    """Every limit of one member; none where it is empty. Requests count by their width: n x prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(1, gt=0, le=100, description="Share of a busy model, relative to the others'.")
    models: tuple[str, ...] | None = Field(None, description="Queues they may use; empty: all.")
    requests_per_minute: int | None = Field(None, gt=0, description="Requests in any minute.")
    tokens_per_minute: int | None = Field(None, gt=0, description="Tokens of prompts and answers in any minute.")
    tokens_per_day: int | None = Field(None, gt=0, description="Tokens of prompts and answers in any 24 hours.")
    running: int | None = Field(None, gt=0, description="Requests that run at once, in all models together.")
    waiting: int = Field(200, gt=0, description="Requests that wait at once, in all models together.")
    hours: str | None = Field(
        None,
        description="When they may ask, by the household's clock: `07:00-20:30`, several with commas.",
        max_length=200,
    )

    @field_validator("hours")
    @classmethod
    def _are_spans(cls, hours: str | None) -> str | None:
        if hours is not None:
            spans(hours)
        return hours


class Roles(BaseModel):
    """What each role may use, unless a member's own limits say otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    admin: Allowance = Field(Allowance(waiting=1000), description="For admins.")
    adult: Allowance = Field(Allowance(), description="For adults.")
    child: Allowance = Field(
        Allowance(requests_per_minute=30, tokens_per_minute=40_000, tokens_per_day=400_000, running=2, waiting=10),
        description="For children, and for whoever a chat UI speaks for that the household does not know yet.",
    )

    def of(self, role: Role, own: dict[str, Any]) -> Allowance:
        """The role's allowance, with a member's own limits in place of its. Raises ValidationError for a bad one."""
        return Allowance.model_validate(getattr(self, role).model_dump() | own)


def spans(hours: str) -> list[tuple[time, time]]:
    """`07:00-12:00, 14:00-20:30` as pairs of first and last moment. Raises ValueError."""
    found = [_SPAN.fullmatch(part.strip()) for part in hours.split(",")]
    if any(match is None or match.group(1, 2) == match.group(3, 4) for match in found):
        raise ValueError("hours are spans such as 07:00-20:30, with commas between several")
    numbers = [tuple(map(int, match.groups())) for match in found if match]
    return [(time(a, b), time(c, d)) for a, b, c, d in numbers]


def may_ask_at(hours: str | None, now: time) -> bool:
    """Whether this is one of their hours. A span may go over midnight."""
    return hours is None or any(_within(now, first, last) for first, last in spans(hours))


def _within(now: time, first: time, last: time) -> bool:
    return first <= now < last if first < last else now >= first or now < last
