"""What vLLM draws anew for every answer, the time in `created` and random ids, held still: attempts say the same."""

import importlib
import time
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import count
from types import SimpleNamespace
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from familyai.errors import ConfigurationError
from workers import at_hand

_SERVING = "vllm.entrypoints.openai"
CLOCKED = (f"{_SERVING}.chat_completion.serving", f"{_SERVING}.completion.serving", f"{_SERVING}.responses.serving")
"""Modules that write `int(time.time())` into answers, and use the time for nothing else."""

NUMBERED = ("vllm.utils", "vllm.entrypoints.anthropic.serving")
"""Modules that make ids of `uuid.uuid4()`: the first for all that call its `random_uuid`."""

OWN_IDS = "vllm.v1.engine.input_processor"
"""Makes the engine's own ids by `random_uuid`. These stay random: two attempts may meet in one engine."""

_ids: ContextVar[Iterator[uuid.UUID] | None] = ContextVar("ids", default=None)


def hold_steady() -> None:
    """Has vLLM take both from the job at hand, for good. Raises ConfigurationError if it takes them elsewhere."""
    from vllm.utils import random_uuid

    for module in CLOCKED:
        _replace(module, "time", time, _time)
    for module in NUMBERED:
        _replace(module, "uuid", uuid, _uuid)
    _replace(OWN_IDS, "random_uuid", random_uuid, _random_id)


def _replace(module_name: str, name: str, known: Any, instead: Any) -> None:
    module = importlib.import_module(module_name)
    if getattr(module, name, None) not in (known, instead):
        raise ConfigurationError(f"{module_name} of this vLLM no longer uses `{name}` as its answers are known to")
    setattr(module, name, instead)


def steady(app: ASGIApp) -> ASGIApp:
    """The application, with ids that follow from a request's `X-Request-Id` and from how many were drawn before."""

    async def numbered(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = dict(scope["headers"]).get(b"x-request-id")
        _ids.set(request_ids(request_id.decode("latin-1")) if request_id else None)
        await app(scope, receive, send)

    return numbered


def request_ids(request_id: str) -> Iterator[uuid.UUID]:
    return (uuid.uuid5(uuid.NAMESPACE_URL, f"{request_id}/{number}") for number in count())


def _now_s() -> float:
    job = at_hand.current.get()
    return float(job.created_s) if job and job.created_s else time.time()


def _next_id() -> uuid.UUID:
    ids = _ids.get()
    return next(ids) if ids else uuid.uuid4()


def _random_id() -> str:
    return uuid.uuid4().hex[:16]


_time = SimpleNamespace(**{**vars(time), "time": _now_s})
_uuid = SimpleNamespace(**{**vars(uuid), "uuid4": _next_id})
