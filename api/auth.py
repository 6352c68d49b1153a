"""Whose request it is: `Authorization: Bearer KEY`, or `x-api-key: KEY` as Anthropic's clients send it."""

import asyncio
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api.broker import broker_errors
from api.front import CurrentFront
from familyai.errors import BadRequest, Unauthorized
from familyai.members import Member

_bearer = HTTPBearer(auto_error=False, description="A member's key, as `familyai member add` shows it.")
_api_key = APIKeyHeader(name="x-api-key", auto_error=False, description="The same key, for Anthropic's clients.")


AUTHENTICATE_S = 5.0


async def authenticate(
    request: Request,
    front: CurrentFront,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    api_key: Annotated[str | None, Security(_api_key)],
) -> Member:
    """Raises Unauthorized, BadRequest for two keys at once, or Unavailable: at once while the broker is down, soon
    when it does not answer."""
    front.replies.check_connected()
    if len(request.headers.getlist("authorization")) > 1:
        raise BadRequest("send one Authorization header", param="Authorization", code="ambiguous_api_key")
    key = bearer.credentials if bearer else api_key
    if not key:
        raise Unauthorized("send your key: `Authorization: Bearer fai-...`", code="missing_api_key")
    with broker_errors():
        async with asyncio.timeout(AUTHENTICATE_S):
            member = await front.members.authenticate(key)
    if member is None:
        raise Unauthorized("this key is wrong, or its member was removed")
    return member


CurrentMember = Annotated[Member, Depends(authenticate)]
