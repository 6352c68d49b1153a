"""What was used: one's own for everybody, the whole household's for its admins."""

from datetime import date, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.auth import Caller, CurrentCaller
from api.broker import broker_errors
from api.front import CurrentFront
from api.schemas import refusals
from familyai.allowance import Role
from familyai.errors import BadRequest, Forbidden
from familyai.names import folded
from familyai.usage import UsageStore, today

router = APIRouter(prefix="/v1", tags=["usage"])

DAYS = 30
"""How far back it goes unless asked."""


class UsageOfDay(BaseModel):
    """What one member used of one model on one day."""

    day: date = Field(description="By the household's clock.")
    member: str
    model: str = Field(description="By its Hugging Face id.")
    requests: int = Field(description="n x prompts of each request.")
    input_tokens: int
    output_tokens: int
    audio_seconds: float = Field(description="Of recordings heard.")
    characters: int = Field(description="Of texts spoken.")


class UsageList(BaseModel):
    object: Literal["list"] = "list"
    data: list[UsageOfDay]


From = Annotated[
    date | None, Query(alias="from", description=f"The first day; empty: {DAYS - 1} days before the last.")
]
To = Annotated[date | None, Query(description="The last day; empty: today.")]
Of = Annotated[str | None, Query(description="One member's alone. Others' are for admins.")]


@router.get("/usage", summary="List usage", responses=refusals(400, 401, 403, 503))
async def list_usage(
    front: CurrentFront, caller: CurrentCaller, first: From = None, to: To = None, member: Of = None
) -> UsageList:
    """By day, member and model, oldest first: a member's own, or for an admin everybody's.

    What a removed member used stays, under the name they had, until it expires after `usage_days`.
    """
    last = to or today()
    first = first or last - min(timedelta(days=DAYS - 1), last - date.min)
    if first > last:
        raise BadRequest("`from` is after `to`", param="from", code="invalid_value")
    whose = whose_usage(caller, member)
    with broker_errors():
        found = await UsageStore(front.redis, front.profile.limits.usage_days).between(first, last, whose)
    return UsageList(data=[UsageOfDay.model_validate(usage, from_attributes=True) for usage in found])


def whose_usage(caller: Caller, wanted: str | None) -> str | None:
    """None for everybody's. Whoever a trusted key speaks for sees their own only. Raises Forbidden."""
    if caller.member.role is Role.ADMIN and not caller.by_trusted_key:
        return wanted
    if wanted is not None and folded(wanted) != folded(caller.member.name):
        raise Forbidden("you can see your own usage; others' is for admins", param="member", code="admins_only")
    return caller.member.name
