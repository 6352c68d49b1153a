"""Whose request it is: `Authorization: Bearer KEY`, or `x-api-key: KEY` as Anthropic's clients send it.

1. The key says who holds it. Without a valid one the request is a stranger's, and strangers' requests are counted.
2. A trusted key speaks for a user of a chat UI, if it says so; see `api.forwarded`. Any other speaks for its holder.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, FastAPI, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api.broker import broker_errors
from api.forwarded import person
from api.front import CurrentFront, Front
from api.strangers import Strangers
from familyai.allowance import Role
from familyai.errors import BadRequest, Forbidden, Unauthorized, Unavailable
from familyai.members import Member
from familyai.quota import Windows
from familyai.settings import Settings

_bearer = HTTPBearer(auto_error=False, description="A member's key, as `familyai member add` shows it.")
_api_key = APIKeyHeader(name="x-api-key", auto_error=False, description="The same key, for Anthropic's clients.")

AUTHENTICATE_S = 5.0


@dataclass(frozen=True)
class Caller:
    """Who asks, and whether somebody else's key says so."""

    member: Member
    by_trusted_key: bool


class Door:
    """What it takes to tell who asks."""

    def __init__(self, front: Front, user_secret: str) -> None:
        self._front = front
        self._user_secret = user_secret
        self._strangers = Strangers(Windows(front.redis), front.profile.limits.strangers_per_minute)

    async def caller(self, request: Request, key: str | None) -> Caller:
        """Raises Unauthorized, BadRequest, LimitReached for one stranger too many, Forbidden for one user too many."""
        try:
            holder = await self._holder(request, key)
        except (Unauthorized, BadRequest):
            await self._strangers.count(request.client.host if request.client else None)
            raise
        if not holder.trusted:
            return Caller(holder, by_trusted_key=False)
        return Caller(await self._spoken_for(request, holder), by_trusted_key=True)

    async def _holder(self, request: Request, key: str | None) -> Member:
        for name in ("Authorization", "x-api-key"):
            if len(request.headers.getlist(name)) > 1:
                raise BadRequest(f"send one {name} header", param=name, code="ambiguous_api_key")
        if not key:
            raise Unauthorized("send your key: `Authorization: Bearer fai-...`", code="missing_api_key")
        member = await self._front.members.authenticate(key)
        if member is None:
            raise Unauthorized("this key is wrong, or its member was removed")
        return member

    async def _spoken_for(self, request: Request, holder: Member) -> Member:
        user = person(request.headers, self._user_secret)
        return await self._front.members.of_user(user.user_id, user.name) if user else holder


def install(app: FastAPI, settings: Settings) -> None:
    app.state.door = Door(app.state.front, settings.openwebui_jwt_secret.get_secret_value())


async def authenticate(
    request: Request,
    front: CurrentFront,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    api_key: Annotated[str | None, Security(_api_key)],
) -> Caller:
    """Raises Unauthorized, BadRequest for two keys at once, LimitReached, Forbidden, or Unavailable: at once while the
    broker is down, soon when it does not answer."""
    front.replies.check_connected()
    with broker_errors():
        async with asyncio.timeout(AUTHENTICATE_S):
            door = cast(Door, request.app.state.door)
            return await door.caller(request, bearer.credentials if bearer else api_key)


CurrentCaller = Annotated[Caller, Depends(authenticate)]


async def current_member(caller: CurrentCaller) -> Member:
    return caller.member


CurrentMember = Annotated[Member, Depends(current_member)]


async def current_admin(caller: CurrentCaller) -> Member:
    """Raises Forbidden, whoever a trusted key speaks for: a chat UI that is broken into manages nobody."""
    if caller.by_trusted_key or caller.member.role is not Role.ADMIN:
        raise Forbidden("this is for admins, with a key of their own", code="admins_only")
    return caller.member


CurrentAdmin = Annotated[Member, Depends(current_admin)]


async def counted_guest(request: Request, front: CurrentFront) -> None:
    """For what anybody may ask for without a key: strangers so often a minute. Raises LimitReached, BadRequest."""
    with suppress(Unauthorized, Forbidden, Unavailable):
        await authenticate(request, front, await _bearer(request), await _api_key(request))
