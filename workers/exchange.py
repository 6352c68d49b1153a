"""One job as one ASGI call: the request in, the response events out as numbered frames."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from starlette.types import Message, Scope

from familyai.frame import Body, End, Failed, Frame, Start
from familyai.jobs import Claim
from workers.meter import Meter

MAX_BODY_BYTES = 256 * 1024
_NOT_CONTINUED = "worker_lost", "The worker died in the middle of the answer, and another could not continue it."


class Emit(Protocol):
    """Where frames go. `is_known`: an earlier attempt has sent it, and its client has it."""

    def __call__(self, frame: Frame, *, is_known: bool) -> None: ...


class Exchange:
    """The `receive` and `send` of one job.

    `leave()` makes `receive` say `http.disconnect`, which is how an engine learns to stop; frames after it are dropped.
    What an earlier attempt has sent the engine says again, and it counts as known.
    """

    def __init__(self, claim: Claim, meter: Meter, worker: str, emit: Emit) -> None:
        self.meter = meter
        self._claim = claim
        self._chunks: AsyncIterator[bytes] | None = None
        self._unread_bytes = claim.job.body_bytes
        self._worker = worker
        self._emit = emit
        self._gone = asyncio.Event()
        self._seq = 0
        self.ended = False
        self.failed = False
        self.succeeded = False
        """Whether the engine answers, and does not refuse."""

    @property
    def attempt(self) -> int:
        return self._claim.attempt

    @property
    def left(self) -> bool:
        return self._gone.is_set()

    def leave(self) -> None:
        self._gone.set()

    def request(self, chunks: AsyncIterator[bytes]) -> None:
        """The body that the engine will read, in pieces as they are asked for; to be set before it is called."""
        self._chunks = chunks

    def scope(self, state: dict[str, Any]) -> Scope:
        """ASGI 2.3: from 2.4 on, frameworks no longer watch `receive` for a disconnect while they stream.

        `state` is what the worker offers its engine beside the request.
        """
        job = self._claim.job
        url = urlsplit(job.path)
        headers = [*job.headers, ("x-request-id", job.id), ("content-length", str(job.body_bytes))]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": job.method,
            "scheme": "http",
            "path": unquote(url.path),
            "raw_path": url.path.encode(),
            "query_string": url.query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            "server": ("familyai", 0),
            "client": None,
            "state": state,
        }

    async def receive(self) -> Message:
        if self._chunks is not None:
            chunk = await anext(self._chunks, b"")
            self._unread_bytes -= len(chunk)
            if not chunk or self._unread_bytes <= 0:
                self._chunks = None
            return {"type": "http.request", "body": chunk, "more_body": self._chunks is not None}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._body(message.get("body", b""), last=not message.get("more_body", False))

    def fail(self, code: str, message: str) -> None:
        """The last frame of an answer that cannot be finished."""
        if not self.ended:
            self._seq = max(self._seq, self._claim.past.frames)
            self._put(Failed, code, message)
            self.ended = self.failed = True

    def _start(self, status: int, headers: Any) -> None:
        pairs = tuple((bytes(name), bytes(value)) for name, value in headers)
        self.succeeded = status < 400
        if self._claim.past.frames and not self.succeeded:
            self.fail(*_NOT_CONTINUED)
        self._put(Start, status, pairs, self._worker, self._claim.queue_wait_s)

    def _body(self, data: bytes, last: bool) -> None:
        for offset in range(0, len(data), MAX_BODY_BYTES):
            self._put(Body, bytes(data[offset : offset + MAX_BODY_BYTES]), self.meter.take())
        if last and self._seq < self._claim.past.frames:
            self.fail(*_NOT_CONTINUED)
        if last and not self.ended:
            self._put(End, self.meter.take())
            self.ended = True

    def _put(self, kind: Callable[..., Frame], *fields: Any) -> None:
        if self.left or self.ended:
            return
        frame = kind(self._claim.job.id, self._claim.attempt, self._seq, *fields)
        self._emit(frame, is_known=self._seq < self._claim.past.frames)
        self._seq += 1
