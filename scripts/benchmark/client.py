"""A client that costs little: it writes down what came when, and leaves the reading for after the load."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

import httptools

from .questions import WrongAnswer


@dataclass
class Recording:
    """One response: its status, and each piece of its body with the time at which it came."""

    sent_s: float
    status: int = 0
    first_byte_s: float = 0.0
    end_s: float = 0.0
    chunks: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.chunks)


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection that asks one thing at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._recording: Recording | None = None
        self._ended: asyncio.Future[Recording] | None = None
        self._now_s = 0.0

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return (await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port))[1]

    async def ask(self, request: bytes) -> Recording:
        """Raises WrongAnswer for any status but 200, and when the connection ends before the answer does."""
        if self._transport is None or self._transport.is_closing():
            raise WrongAnswer("the server closed a connection between two requests")
        self._parser = httptools.HttpResponseParser(self)
        self._ended = asyncio.get_running_loop().create_future()
        self._recording = Recording(perf_counter())
        self._transport.write(request)
        recording = await self._ended
        if recording.status != 200:
            raise WrongAnswer(f"status {recording.status}: {recording.body[:300].decode(errors='replace')}")
        return recording

    @property
    def has_words(self) -> bool:
        """Whether the answer at hand has begun, or is over: comments on its wait are no part of it."""
        return self._recording is None or any(b"data: " in data for _, data in self._recording.chunks)

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._now_s = perf_counter()
        if self._recording and not self._recording.first_byte_s:
            self._recording.first_byte_s = self._now_s
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection ended in the middle of an answer")

    def on_body(self, data: bytes) -> None:
        if self._recording:
            self._recording.chunks.append((self._now_s, data))

    def on_message_complete(self) -> None:
        if self._recording and self._ended and not self._ended.done():
            self._recording.status = self._parser.get_status_code()
            self._recording.end_s = self._now_s
            self._ended.set_result(self._recording)

    def _fail(self, reason: str) -> None:
        if self._ended and not self._ended.done():
            self._ended.set_exception(WrongAnswer(reason))


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """Opened before anything is timed, closed at the end of the block."""
    opened: list[Connection] = []
    try:
        for _ in range(count):
            opened.append(await Connection.open(port))  # noqa: PERF401 (those opened so far must be closed)
        yield opened
    finally:
        for connection in opened:
            connection.close()
