"""Failures in the words of each API: as a body before the first byte, as an event in the stream after it. Pure."""

from enum import Enum
from typing import Any

import orjson

from familyai.errors import RequestError

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class Dialect(Enum):
    """Whose error format a client of this path expects."""

    OPENAI = "openai"
    RESPONSES = "responses"
    ANTHROPIC = "anthropic"


def dialect_of(path: str) -> Dialect:
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return Dialect.ANTHROPIC
    return Dialect.RESPONSES if path == "/v1/responses" else Dialect.OPENAI


def envelope(error: RequestError, dialect: Dialect) -> dict[str, Any]:
    """The body of an error response."""
    return _anthropic(error) if dialect is Dialect.ANTHROPIC else error.envelope()


def event(error: RequestError, dialect: Dialect, events_sent: int) -> bytes:
    """The last event of a broken stream. No `[DONE]` follows it, so no client takes the answer for whole."""
    match dialect:
        case Dialect.ANTHROPIC:
            return b"event: error\ndata: " + orjson.dumps(_anthropic(error)) + b"\n\n"
        case Dialect.RESPONSES:
            return b"event: error\ndata: " + orjson.dumps(_responses(error, events_sent)) + b"\n\n"
        case Dialect.OPENAI:
            return b"data: " + orjson.dumps(error.envelope()) + b"\n\n"


def _anthropic(error: RequestError) -> dict[str, Any]:
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def _responses(error: RequestError, sequence_number: int) -> dict[str, Any]:
    return {
        "type": "error",
        "code": error.code or error.type,
        "message": error.message,
        "param": error.param,
        "sequence_number": sequence_number,
    }
