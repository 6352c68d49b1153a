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
_OPENAI_TYPES = dict.fromkeys((400, 404, 413, 422), "invalid_request_error")


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


def refused(status: int, body: bytes) -> RequestError:
    """An engine's own refusal, for a stream that cannot show its status any more: what its error object says.

    Engines speak OpenAI's envelope, with or without its outer `error`, or Anthropic's.
    """
    told = _error_object(body)
    message = told.get("message")
    fallback = "the engine refused the request" if status >= 400 else "the engine's answer is no event stream"
    error = RequestError(message if isinstance(message, str) else f"{fallback} (status {status})")
    error.status = status if status >= 400 else 500
    error.type = told["type"] if isinstance(told.get("type"), str) else _OPENAI_TYPES.get(status, error.type)
    error.code, error.param = told.get("code"), told.get("param")
    return error


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    inner = told.get("error", told) if isinstance(told, dict) else None
    return inner if isinstance(inner, dict) else {}


def _anthropic(error: RequestError) -> dict[str, Any]:
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def _responses(error: RequestError, sequence_number: int) -> dict[str, Any]:
    return {
        "type": "error",
        "code": str(error.code or error.type),
        "message": error.message,
        "param": error.param,
        "sequence_number": sequence_number,
    }
