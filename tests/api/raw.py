"""Clients that write what no library would, byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.api.support import LIMIT_S, until

PACE_S = 0.05


class Raw(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.got = bytearray()
        self.heard = asyncio.Event()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.heard.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.set()
        self.closed.set()

    async def hung_up(self) -> bytes:
        """All that came until the server hung up."""
        await asyncio.wait_for(self.closed.wait(), LIMIT_S)
        return bytes(self.got)

    async def answer(self) -> tuple[int, Any]:
        """The first one's status and JSON."""
        await until(lambda: self._body() is not None, f"an answer comes whole: {self.got[:200]!r}")
        return int(self.got.split()[1]), orjson.loads(self._body() or b"")

    async def refusal(self) -> tuple[int, str]:
        """Status and code, after which the server hung up."""
        await self.hung_up()
        status, body = await self.answer()
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return status, body["error"]["code"]

    async def slowly(self, pieces: Iterable[bytes]) -> None:
        """One after the other, until the server says something or hangs up."""
        for piece in pieces:
            self.transport.write(piece)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.heard.wait(), PACE_S)
                return

    def _body(self) -> bytes | None:
        head, ends, body = bytes(self.got).partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return body if ends and (not lengths or len(body) >= int(lengths[0])) else None


@asynccontextmanager
async def knocking(url: str, first: bytes = b"", source: str = "127.0.0.1") -> AsyncIterator[Raw]:
    """A connection on which `first` was sent."""
    at = urlsplit(url)
    loop = asyncio.get_running_loop()
    transport, raw = await loop.create_connection(Raw, at.hostname, at.port, local_addr=(source, 0))
    transport.write(first)
    yield raw
    transport.abort()


def head(method: str, path: str, key: str = "", **headers: object) -> bytes:
    """A request's, with the lines that every request has. `content_length` is a header's name, too."""
    named = {"Host": "here", **({"Authorization": f"Bearer {key}"} if key else {})}
    named |= {name.replace("_", "-"): str(value) for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
