"""The bench's client, against a server that follows a script."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from scripts.benchmark.client import connections
from scripts.benchmark.questions import WrongAnswer

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
REQUEST = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n"


@asynccontextmanager
async def server(*answers: Sequence[bytes]) -> AsyncIterator[int]:
    """Answers each connection's requests in turn, each piece by itself, and closes after the last."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for pieces in answers:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_response_is_written_down_piece_by_piece() -> None:
    pieces = (CHUNKED, b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n")
    async with server(pieces, pieces) as port, connections(port, 1) as (connection,):
        for _ in range(2):
            recording = await connection.ask(REQUEST)
            assert recording.body == b"onetwo"
            times = [recording.sent_s, recording.first_byte_s, *(at_s for at_s, _ in recording.chunks), recording.end_s]
            assert times == sorted(times)


@pytest.mark.parametrize(
    ("pieces", "complaint"),
    [
        ((CHUNKED, b"3\r\none\r\n"), "in the middle of an answer"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",), "in the middle of an answer"),
        ((), "in the middle of an answer"),
        ((b"HTTP/1.1 503 Unavailable\r\ncontent-length: 4\r\n\r\ndown",), "status 503: down"),
        ((b"what is this\r\n\r\n",), "not HTTP"),
    ],
)
async def test_anything_but_a_whole_answer_is_a_wrong_one(pieces: Sequence[bytes], complaint: str) -> None:
    async with server(pieces) as port, connections(port, 1) as (connection,):
        with pytest.raises(WrongAnswer, match=complaint):
            await connection.ask(REQUEST)


async def test_a_connection_closed_between_two_requests_is_noticed() -> None:
    async with server((CHUNKED, b"0\r\n\r\n")) as port, connections(port, 1) as (connection,):
        await connection.ask(REQUEST)
        with pytest.raises(WrongAnswer, match=r"closed a connection|in the middle of an answer"):
            await connection.ask(REQUEST)
