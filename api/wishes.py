"""What a client may say about its own wait: how long at most, and that others may go first."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from familyai.errors import BadRequest
from familyai.lanes import Priority

DEADLINE = "X-FamilyAI-Deadline-S"
PRIORITY = "X-FamilyAI-Priority"


@dataclass(frozen=True)
class Wishes:
    """`deadline_s`: to wait so long at most; None: as long as anybody."""

    priority: Priority = Priority.INTERACTIVE
    deadline_s: float | None = None


async def wishes_of(request: Request) -> Wishes:
    """Raises BadRequest that names the header."""
    priority, deadline = request.headers.get(PRIORITY), request.headers.get(DEADLINE)
    return Wishes(
        priority=Priority.INTERACTIVE if priority is None else _priority(priority),
        deadline_s=None if deadline is None else _deadline_s(deadline),
    )


CurrentWishes = Annotated[Wishes, Depends(wishes_of)]

_DESCRIPTIONS = {
    DEADLINE: "Seconds to wait for the answer's begin at most; refused at once with 429 if that cannot be met.",
    PRIORITY: f"One of {', '.join(Priority)}: to let others go first.",
}
HEADERS: list[dict[str, Any]] = [
    {"name": name, "in": "header", "required": False, "description": words, "schema": {"type": "string"}}
    for name, words in _DESCRIPTIONS.items()
]
"""For the API's description."""


def _priority(text: str) -> Priority:
    try:
        return Priority(text.strip().lower())
    except ValueError:
        raise BadRequest(
            f"`{PRIORITY}` is one of: {', '.join(Priority)}", param=PRIORITY, code="invalid_value"
        ) from None


def _deadline_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadRequest(f"`{DEADLINE}` is a number of seconds above 0", param=DEADLINE, code="invalid_value")
    return seconds
