"""The request's body: read within its limit, parsed once."""

from typing import Annotated, Any

import orjson
from fastapi import Depends, Request

from api.front import CurrentFront
from familyai.errors import BadRequest, TooLarge


async def read_json(request: Request, front: CurrentFront) -> dict[str, Any]:
    """Raises TooLarge before more than the limit was read, BadRequest for what is no JSON object."""
    return parse(await read(request, int(front.profile.limits.json_body_mb * 1e6)))


async def read(request: Request, limit_bytes: int) -> bytes:
    """A length that is announced is refused unread; one that is not, as soon as it has passed the limit."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def parse(data: bytes) -> dict[str, Any]:
    """Of a key that comes twice the last value counts, here and, since the body is written anew, in the engine."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    return body


def write(body: dict[str, Any]) -> bytes:
    """Raises BadRequest for what is nested deeper than orjson writes (254 levels, where it reads 1024)."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise BadRequest("the body is nested too deep", code="invalid_json") from error


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is over the limit of {limit_bytes / 1e6:g} MB")


JsonBody = Annotated[dict[str, Any], Depends(read_json)]
