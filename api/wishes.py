"""What a client may say beside its request: how long it waits at most, that others may go first, what the router should
prefer, and that the job outlives the connection."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import Depends, Header

from familyai.catalogue import Prefer
from familyai.errors import BadRequest
from familyai.lanes import Priority

DEADLINE = "X-FamilyAI-Deadline-S"
PRIORITY = "X-FamilyAI-Priority"
PREFER = "X-FamilyAI-Prefer"
DETACH = "X-FamilyAI-Detach"


Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True)
class Wishes:
    """`deadline_s`: to wait so long at most; None: as long as anybody."""

    priority: Priority = Priority.INTERACTIVE
    deadline_s: float | None = None
    prefer: Prefer | None = None


_Priority = Header(alias=PRIORITY, description=f"One of {', '.join(Priority)}: to let others go first.")
_Deadline = Header(
    alias=DEADLINE,
    description="Seconds to wait for the answer's begin at most; refused at once with 429 if that cannot be met.",
)
_Prefer = Header(
    alias=PREFER, description=f"One of {', '.join(Prefer)}: what counts more where the model is chosen (`auto`)."
)

_Detach = Header(
    alias=DETACH,
    description="`true`: the job runs on when its client leaves, and `GET /v1/jobs/{job_id}/events` tells its answer.",
)
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


async def wishes_of(
    priority: Annotated[str | None, _Priority] = None,
    deadline: Annotated[str | None, _Deadline] = None,
    prefer: Annotated[str | None, _Prefer] = None,
) -> Wishes:
    """Raises BadRequest that names the header."""
    return Wishes(
        priority=Priority.INTERACTIVE if priority is None else _one_of(Priority, priority, PRIORITY),
        deadline_s=None if deadline is None else _deadline_s(deadline),
        prefer=None if prefer is None else _one_of(Prefer, prefer, PREFER),
    )


async def detachment(detach: Annotated[str | None, _Detach] = None) -> bool:
    """Raises BadRequest that names the header."""
    return detach is not None and _truth(detach)


CurrentWishes = Annotated[Wishes, Depends(wishes_of)]
Detached = Annotated[bool, Depends(detachment)]


def _one_of(kind: type[Word], text: str, header: str) -> Word:
    try:
        return kind(text.strip().lower())
    except ValueError:
        words = f"`{header}` is one of: {', '.join(kind)}"
        raise BadRequest(words, param=header, code="invalid_value") from None


def _truth(text: str) -> bool:
    try:
        return _TRUTHS[text.strip().lower()]
    except KeyError:
        raise BadRequest(f"`{DETACH}` is true or false", param=DETACH, code="invalid_value") from None


def _deadline_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadRequest(f"`{DEADLINE}` is a number of seconds above 0", param=DEADLINE, code="invalid_value")
    return seconds
