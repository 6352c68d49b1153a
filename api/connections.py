"""One client's connection: uvicorn's own, with bounds on what it may take before there is a request to refuse.

    HEAD ──head is complete──▶ BODY ──body is complete──▶ WHOLE ──first byte of the next──▶ HEAD

1. In HEAD and BODY a clock runs: a head has `request_head_s`, a body brings `body_kb_per_s` in every `body_stall_s`.
   Time in which we read nothing, because what came has not been taken yet, does not count; nor does an answer's.
2. What cannot be part of a request that we would serve is not kept: a head over `request_head_kb`, as much of anything
   in a body that is none (what chunks have besides data), and trailers.
3. A refusal says why and hangs up. After an answer what is left of a body has `body_stall_s`.
4. Who is idle may have to go, see `api.room`.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.room import Room
from familyai.errors import BadRequest, HeadTooLarge, RequestError, TooSlow, Unavailable
from familyai.limits import Limits

MOST_HEADERS = 200
MOST_PIPELINED = 8
"""Requests sent before the answer to the one before; no client in use sends any."""


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    WHOLE = auto()


class Connection(HttpToolsProtocol):
    """Belongs to one event loop. Its limits hold for each connection by itself, `room` for all of a server."""

    def __init__(self, *args: Any, limits: Limits, room: "Room[Connection]", **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        self._room = room
        self._phase = _Phase.HEAD
        self._clock: asyncio.TimerHandle | None = None
        self._idle_bytes = self._body_bytes = 0  # since something came of them; since the clock was set
        self._has_moved = self._was_paused = False
        self._left_bytes = 0
        self._refusal: RequestError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_clock(self._limits.request_head_s, self._check_head)
        goes = self._room.enter(self, self.client[0] if self.client else None)
        if goes is self:
            words = "there are too many connections; try again in a moment"
            self._refuse(Unavailable(words, code="too_many_connections", retry_after_s=5))
        elif goes is not None:
            goes.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self._room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, but that nothing is logged of what strangers send."""
        self._unset_keepalive_if_required()
        self._has_moved = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # to nothing that is spoken here: the request is served as it is
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or BadRequest("this is no HTTP request", code="invalid_http"))
            return
        self._keep_watch(len(data))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stop_clock()
        self._phase, self._idle_bytes = _Phase.HEAD, 0

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._head_limit or len(self.headers) > MOST_HEADERS or len(self.pipeline) >= MOST_PIPELINED:
            self._refusal = self._head_too_large()
            raise self._refusal
        super().on_headers_complete()
        self.headers = []  # trailers would join the request's headers, unchecked
        self._stop_clock()
        self._phase, self._idle_bytes = _Phase.BODY, 0
        self._room.work(self)

    def on_body(self, body: bytes) -> None:
        self._has_moved = True
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_moved = True
        self._stop_clock()
        self._phase = _Phase.WHOLE
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_answered:
            self._room.rest(self)
            if self._phase is _Phase.BODY:
                self._set_clock(self._limits.body_stall_s, self._hang_up)

    def timeout_keep_alive_handler(self) -> None:
        """Who has not taken the end of the answer yet may, as long as they go on taking."""
        super().timeout_keep_alive_handler()
        self._left_bytes = self.transport.get_write_buffer_size()
        if self._left_bytes:
            self._set_clock(self._limits.body_stall_s, self._check_flush)

    @property
    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _head_limit(self) -> int:
        return int(self._limits.request_head_kb * 1e3)

    def _keep_watch(self, size: int) -> None:
        """After `size` more bytes, whatever they were."""
        if self.transport.is_closing():
            return
        if self._phase is _Phase.WHOLE and self._is_answered:  # line ends that belong to no request
            self._phase, self._idle_bytes = _Phase.HEAD, 0
        if self._phase is _Phase.WHOLE:
            return
        self._idle_bytes = 0 if self._has_moved else self._idle_bytes + size
        if self._idle_bytes > self._head_limit:
            self._refuse(self._head_too_large())
        elif self._clock is None and self._phase is _Phase.HEAD:
            self._set_clock(self._limits.request_head_s, self._check_head)
        elif self._clock is None:
            self._watch_body()

    def _check_head(self) -> None:
        """Who has sent nothing at all, as browsers that connect in advance, is not told anything either."""
        if not self._is_answered:
            self._set_clock(self._limits.request_head_s, self._check_head)
        elif self._idle_bytes:
            self._refuse(TooSlow(f"a request's line and headers have {self._limits.request_head_s:g} seconds to come"))
        else:
            self._hang_up()

    def _watch_body(self) -> None:
        self._body_bytes = 0
        self._was_paused = self.flow.read_paused
        self._set_clock(self._limits.body_stall_s, self._check_body)

    def _check_body(self) -> None:
        least = self._limits.body_kb_per_s * 1e3 * self._limits.body_stall_s
        if self._body_bytes >= least or self._was_paused or self.flow.read_paused:
            self._watch_body()
        else:
            self._refuse(TooSlow(f"the body came slower than {self._limits.body_kb_per_s:g} kB a second"))

    def _check_flush(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left < self._left_bytes:
            self._left_bytes = left
            self._set_clock(self._limits.body_stall_s, self._check_flush)
        else:
            self._hang_up()

    def _refuse(self, error: RequestError) -> None:
        """In words where no answer has begun that they would break."""
        waits_for_body = self._phase is _Phase.BODY and not self.pipeline and not self.cycle.response_started
        if self._is_answered or waits_for_body:
            self.transport.write(_response(error))
        self._stop_clock()
        self.transport.close()

    def _hang_up(self) -> None:
        self.transport.abort()

    def _head_too_large(self) -> HeadTooLarge:
        words = f"a request's line and headers have at most {self._limits.request_head_kb:g} kB"
        return HeadTooLarge(f"{words} and {MOST_HEADERS} headers")

    def _set_clock(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(seconds, then)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def bounded(limits: Limits, most: int, proxies: list[str]) -> type[asyncio.Protocol]:
    """What one server makes of each connection: all of them in one room, for at most `most`."""
    room: Room[Connection] = Room(most, limits.connections_per_address, proxies)
    return cast(type[asyncio.Protocol], partial(Connection, limits=limits, room=room))


def _response(error: RequestError) -> bytes:
    """OpenAI's envelope: which path was meant, and so whose dialect, may not be known yet."""
    body = orjson.dumps(error.envelope())
    headers = {"content-type": "application/json", "content-length": len(body), "connection": "close"}
    if error.retry_after_s is not None:
        headers["retry-after"] = f"{error.retry_after_s:g}"
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
