"""Every failure before the first byte becomes a response here, in one envelope, whoever raised it."""

import logging
import math
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.failures import dialect_of, envelope
from familyai.errors import BadRequest, NotFound, RequestError
from routing.resolve import SHOWN

_NOT_AGAIN = frozenset({"deadline", "queue_timeout", "route_named"})
"""Their client has waited as long as it wished, or will hear the same again: OpenAI's clients, told so, do not try
again by themselves."""

log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    app.add_exception_handler(RequestError, on_request_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_wrong_parameter)
    app.add_exception_handler(ClientDisconnect, on_client_disconnect)
    app.add_exception_handler(Exception, on_bug)


async def on_request_error(request: Request, error: Exception) -> Response:
    return refusal(request, cast(RequestError, error))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, or a path that has no such method."""
    raised = cast(HTTPException, error)
    if raised.status_code == 404:
        return refusal(
            request,
            NotFound(f"there is nothing at {_path(request)}; what there is: /openapi.json", code="unknown_path"),
        )
    failure = BadRequest(raised.detail, code="method_not_allowed" if raised.status_code == 405 else None)
    return refusal(request, failure, status=raised.status_code, headers=dict(raised.headers or {}))


async def on_wrong_parameter(request: Request, error: Exception) -> Response:
    """FastAPI's own, of a query's parameters: it would be 422 and an envelope of another kind."""
    problem = cast(RequestValidationError, error).errors()[0]
    name = str(problem["loc"][-1])
    return refusal(request, BadRequest(f"`{name}`: {problem['msg']}", param=name, code="invalid_value"))


async def on_client_disconnect(request: Request, error: Exception) -> Response:
    """Nobody is there to read it; the metrics are."""
    return Response(status_code=499)


async def on_bug(request: Request, error: Exception) -> Response:
    """The server logs the traceback; the client learns nothing of our insides."""
    log.error("a bug", extra={"action": "request.crashed", "path": _path(request), "error": type(error).__name__})
    return refusal(request, RequestError("something went wrong inside; the log says what", code="internal_error"))


def refusal(
    request: Request, error: RequestError, status: int | None = None, headers: dict[str, str] | None = None
) -> Response:
    headers = headers or {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if error.job_id is not None:
        headers["X-FamilyAI-Job-Id"] = error.job_id
    if error.code in _NOT_AGAIN:
        headers["x-should-retry"] = "false"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    content = envelope(error, dialect_of(request.scope["path"]))
    return JSONResponse(content, status_code=status or error.status, headers=headers)


def _path(request: Request) -> str:
    """What was asked for, cut to what is worth repeating. `request.url` would take in the Host header too."""
    return str(request.scope["path"])[:SHOWN]
