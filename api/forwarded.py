"""For whom a trusted key speaks: what Open WebUI says of the user who asks, signed or, without a secret, plainly. Pure.

1. With a secret, only `x-openwebui-user-jwt` counts. Open WebUI sends plain headers instead where signing fails.
2. Without one, `x-openwebui-user-id` says who, and `-name` what a new member is called.
3. Without the header in question, the key speaks for itself.

A role that is forwarded means nothing. Source: Open WebUI 0.12.4 signs `sub` (the user's id), `name`, `email`, `role`,
`iss`, `iat` and `exp`, five minutes later.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import jwt
from starlette.datastructures import Headers

from familyai.errors import BadRequest, Unauthorized

TOKEN = "x-openwebui-user-jwt"  # noqa: S105 (a header's name)
USER_ID = "x-openwebui-user-id"
USER_NAME = "x-openwebui-user-name"
ISSUER = "open-webui"
LEEWAY_S = 10
"""By which two machines' clocks may differ."""


@dataclass(frozen=True)
class Person:
    """A user of a chat UI, by the id that stays, and as they are called there."""

    user_id: str
    name: str


def person(headers: Headers, secret: str) -> Person | None:
    """Raises Unauthorized for a token that is not right, and BadRequest for a header that comes twice."""
    if secret:
        token = _single(headers, TOKEN)
        return _signed(token, secret) if token is not None else None
    user_id = _single(headers, USER_ID)
    if user_id is None:
        return None
    return Person(user_id, unquote(_single(headers, USER_NAME) or "", errors="replace"))


def _single(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    if len(values) > 1:
        raise BadRequest(f"send one {name} header", param=name, code="ambiguous_user")
    return values[0] if values else None


def _signed(token: str, secret: str) -> Person:
    try:
        claims = _claims(token, secret)
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized("the user's token has expired", param=TOKEN, code="expired_user_token") from error
    except (jwt.PyJWTError, RecursionError) as error:  # the latter for JSON that is nested without end
        words = "the user's token is not right; both sides need the same secret (docs/members.md)"
        raise Unauthorized(words, param=TOKEN, code="invalid_user_token") from error
    name = claims.get("name")
    return Person(claims["sub"], name if isinstance(name, str) else "")


def _claims(token: str, secret: str) -> dict[str, Any]:
    """Raises one of PyJWT's errors."""
    claims: dict[str, Any] = jwt.decode(
        token,
        secret,
        algorithms=["HS256"],
        issuer=ISSUER,
        leeway=LEEWAY_S,
        options={"require": ["iss", "exp", "sub"]},
    )
    if not isinstance(claims["sub"], str) or not claims["sub"].strip():
        raise jwt.InvalidTokenError("the subject is no id")
    return claims
