"""Whose request it is: `Authorization: Bearer KEY`, or `x-api-key: KEY` as Anthropic's clients send it."""

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api.broker import broker_errors
from api.front import CurrentFront
from familyai.errors import Unauthorized
from familyai.members import Member

_bearer = HTTPBearer(auto_error=False, description="A member's key, as `familyai member add` shows it.")
_api_key = APIKeyHeader(name="x-api-key", auto_error=False, description="The same key, for Anthropic's clients.")


async def authenticate(
    front: CurrentFront,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    api_key: Annotated[str | None, Security(_api_key)],
) -> Member:
    """Raises Unauthorized, or Unavailable at once while the broker is down."""
    front.replies.check_connected()
    key = bearer.credentials if bearer else api_key
    if not key:
        raise Unauthorized("send your key: `Authorization: Bearer fai-...`", code="missing_api_key")
    with broker_errors():
        member = await front.members.authenticate(key)
    if member is None:
        raise Unauthorized("this key is wrong, or its member was removed")
    return member


CurrentMember = Annotated[Member, Depends(authenticate)]
