"""The request's body: read within its limit, parsed once."""

import asyncio
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from api.front import CurrentFront
from familyai.errors import BadRequest, TooLarge

Read = TypeVar("Read", bound=BaseModel)
QUICK_BYTES = 256_000
"""Larger bodies are read beside the loop, on which everybody's answers travel."""
MOST_VALUES = 1_000_000
"""More than any model's context holds. Parsing holds up every other request, whatever thread it runs in."""


class UnsupportedEncoding(BadRequest):
    status = 415
    code = "unsupported_encoding"


async def read_body(request: Request, front: CurrentFront) -> bytes:
    """Raises UnsupportedEncoding, and TooLarge before more than the limit was read."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedEncoding("send the body as it is, without Content-Encoding", param="Content-Encoding")
    return await read(request, int(front.profile.limits.json_body_mb * 1e6))


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
    """Of a key that comes twice the last value counts, here and, since the body is written anew, in the engine.

    Raises BadRequest for what is no JSON object, or has more values than any model could take.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise BadRequest(f"the body has more than {MOST_VALUES} values, or signs of them", code="too_complex")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    return body


async def parsed(data: bytes) -> dict[str, Any]:
    """The same without holding up the loop."""
    return parse(data) if len(data) <= QUICK_BYTES else await asyncio.to_thread(parse, data)


def parse_as(data: bytes, kind: type[Read]) -> Read:
    """Raises BadRequest, which names the first parameter that is wrong."""
    try:
        return kind.model_validate(parse(data))
    except ValidationError as error:
        problem = error.errors()[0]
        param = ".".join(str(part) for part in problem["loc"])
        raise BadRequest(f"`{param}`: {problem['msg']}", param=param, code="invalid_value") from error


def write(body: dict[str, Any]) -> bytes:
    """Raises BadRequest for what is nested deeper than orjson writes (254 levels, where it reads 1024)."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise BadRequest("the body is nested too deep", code="invalid_json") from error


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is over the limit of {limit_bytes / 1e6:g} MB")


RawBody = Annotated[bytes, Depends(read_body)]
