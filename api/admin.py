"""Members, as admins manage them. A change counts for the next request, in every front."""

import logging
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from api.auth import CurrentAdmin
from api.body import RawBody, parse_as
from api.broker import broker_errors
from api.front import CurrentFront, Front
from api.schemas import json_body, refusals
from familyai.allowance import Allowance, Role
from familyai.members import Change, Member, user_key, user_of

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/admin/members", tags=["members"], responses=refusals(401, 403, 503))

Name = Annotated[str, Path(description="The member's name, in any case.", examples=["Leo"])]


AnyRole = Annotated[Role, Field(strict=False), WithJsonSchema({"type": "string", "enum": list(Role)})]
"""Whole, where pydantic would only refer to it."""


def _limit(name: str, example: Any, null: str = "; null: no limit") -> Any:
    words = Allowance.model_fields[name].description
    return Field(None, description=f"{words} Left out: the role's{null}.", examples=[example])


class _Limits(BaseModel):
    """Those that are given become the member's own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    weight: float = _limit("weight", 2, null="")
    models: list[str] | None = _limit("models", ["chat-fast", "asr"])
    requests_per_minute: int | None = _limit("requests_per_minute", 20)
    tokens_per_minute: int | None = _limit("tokens_per_minute", 20_000)
    tokens_per_day: int | None = _limit("tokens_per_day", 200_000)
    running: int | None = _limit("running", 1)
    waiting: int = _limit("waiting", 5, null="")
    hours: str | None = _limit("hours", "07:00-20:30")

    def own(self) -> dict[str, Any]:
        given = self.model_dump(exclude_unset=True)
        return {name: given[name] for name in Allowance.model_fields if name in given}


class NewMember(_Limits):
    name: str = Field(description="Unique, whatever its case.", examples=["Leo"])
    role: AnyRole = Field(description="Whose limits count where the member has none.", examples=["child"])
    trusted: bool = Field(False, description="Whether the key speaks for users of a chat UI. Not for admins.")
    user: str | None = Field(None, description="The id of the user of Open WebUI who this is.", examples=[None])


class MemberPatch(_Limits):
    """What is left out stays as it is."""

    role: AnyRole | None = Field(None, description="Admins, adults and children differ by their limits.")
    trusted: bool | None = Field(None, description="Whether the key speaks for users of a chat UI.")
    user: str | None = Field(None, description="The id of the user of Open WebUI who this is; null: nobody.")
    reset: list[str] = Field([], description="Limits that are the role's again.", examples=[["tokens_per_day"]])


class MemberObject(BaseModel):
    """A member as it stands. Of its key only the id is shown, with which the key begins."""

    object: Literal["member"] = "member"
    name: str = Field(examples=["Leo"])
    role: Role
    limits: Allowance = Field(description="What counts: the member's own limits, and the role's where there is none.")
    own: list[str] = Field(description="Which of the limits are the member's own.", examples=[["tokens_per_day"]])
    lane: int | None = Field(description="The number of the member's lane; null: a share of several.")
    trusted: bool
    user: str | None = Field(description="The id of the user of Open WebUI who this is.")
    key: str | None = Field(description="How the key begins; null: no key.", examples=["fai-0123456789ab-"])
    created_at: int = Field(description="In Unix time.")


class MemberWithKey(MemberObject):
    api_key: str = Field(description="Shown this once.")


class MemberList(BaseModel):
    object: Literal["list"] = "list"
    data: list[MemberObject]


class MemberDeleted(BaseModel):
    name: str
    object: Literal["member"] = "member"
    deleted: bool = True


@router.post(
    "", status_code=201, summary="Add a member", responses=refusals(400, 413), openapi_extra=json_body(NewMember)
)
async def create_member(front: CurrentFront, admin: CurrentAdmin, data: RawBody) -> MemberWithKey:
    """The answer holds the key, which is shown this once."""
    asked = parse_as(data, NewMember)
    change = Change(own=asked.own(), trusted=asked.trusted, user=_user(asked.user))
    with broker_errors():
        member, api_key = await front.members.add(asked.name, asked.role, change)
    _log("a member was added", "member.added", member.name, admin)
    return MemberWithKey(**_fields(member, front), api_key=api_key)


@router.get("", summary="List members")
async def list_members(front: CurrentFront, admin: CurrentAdmin) -> MemberList:
    """Oldest first."""
    with broker_errors():
        return MemberList(data=[_object(member, front) for member in await front.members.all()])


@router.get("/{name}", summary="Retrieve a member", responses=refusals(404))
async def retrieve_member(name: Name, front: CurrentFront, admin: CurrentAdmin) -> MemberObject:
    """Their role, and what they may use."""
    with broker_errors():
        return _object(await front.members.get(name), front)


@router.patch(
    "/{name}",
    summary="Change a member",
    responses=refusals(400, 404, 413),
    openapi_extra=json_body(MemberPatch),
)
async def change_member(name: Name, front: CurrentFront, admin: CurrentAdmin, data: RawBody) -> MemberObject:
    """What is left out stays. Changes at the same time all count, and none is lost."""
    change = _change(parse_as(data, MemberPatch))
    with broker_errors():
        member = await front.members.change(name, change)
    _log("a member was changed", "member.changed", member.name, admin)
    return _object(member, front)


@router.delete("/{name}", summary="Remove a member", responses=refusals(400, 404))
async def delete_member(name: Name, front: CurrentFront, admin: CurrentAdmin) -> MemberDeleted:
    """Their key stops working at once, and their files are deleted. The last admin with a key stays."""
    with broker_errors():
        member = await front.members.remove(name)
    _log("a member was removed", "member.removed", member.name, admin)
    return MemberDeleted(name=member.name)


@router.post("/{name}/rotate", summary="Make a new key", responses=refusals(404))
async def rotate_key(name: Name, front: CurrentFront, admin: CurrentAdmin) -> MemberWithKey:
    """The old one stops working at once; whoever had none has one now."""
    with broker_errors():
        member, api_key = await front.members.rotate(name)
    _log("a key was made", "member.rotated", member.name, admin)
    return MemberWithKey(**_fields(member, front), api_key=api_key)


def _change(asked: MemberPatch) -> Change:
    """Raises BadRequest."""
    given = {"user": _user(asked.user)} if "user" in asked.model_fields_set else {}
    return Change(role=asked.role, own=asked.own(), reset=tuple(asked.reset), trusted=asked.trusted, **given)


def _user(user_id: str | None) -> str | None:
    return user_key(user_id) if user_id is not None else None


def _object(member: Member, front: Front) -> MemberObject:
    return MemberObject(**_fields(member, front))


def _fields(member: Member, front: Front) -> dict[str, Any]:
    return {
        "name": member.name,
        "role": member.role,
        "limits": member.allowance(front.profile.roles),
        "own": sorted(member.own),
        "lane": member.lane,
        "trusted": member.trusted,
        "user": user_of(member),
        "key": f"fai-{member.key_id}-" if member.key_id else None,
        "created_at": int(member.created_at_s),
    }


def _log(words: str, action: str, name: str, admin: Member) -> None:
    log.info(words, extra={"action": action, "member": name, "by": admin.name})
