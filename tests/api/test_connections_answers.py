"""What an application of any kind is told of a connection, and how its answer leaves."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from api.connections import bounded
from familyai.limits import Limits
from tests.api.raw import knocking
from tests.api.support import until

LARGE = 30_000_000
LIMITS = Limits.model_validate({"request_head_s": 5, "body_stall_s": 0.5})

may_read = asyncio.Event()
"""What one test's request waits for."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the headers it has once the body is whole, or with more than fits into the sockets' buffers."""
    if scope["path"] == "/headers/later":
        await may_read.wait()
    while (await receive())["more_body"]:
        pass
    body = repr(scope["headers"]).encode() if scope["path"].startswith("/headers") else b"1" * LARGE
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    config = uvicorn.Config(
        app,
        port=0,
        lifespan="off",
        http=bounded(LIMITS, 10, []),
        log_config=None,
        timeout_keep_alive=1,
        timeout_graceful_shutdown=1,
    )
    made = uvicorn.Server(config)
    running = asyncio.create_task(made.serve())
    await until(lambda: made.started, "the server starts")
    yield made
    made.should_exit = True
    await running


def url(server: uvicorn.Server) -> str:
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


async def test_trailers_are_no_headers(server: uvicorn.Server) -> None:
    request = b"POST /headers HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    request += b"1\r\n1\r\n0\r\nAuthorization: Bearer other\r\n\r\n"
    async with knocking(url(server), request) as raw:
        await until(lambda: b"]" in raw.got, "the answer comes")
    assert b"transfer-encoding" in raw.got
    assert b"authorization" not in raw.got


async def test_endless_trailers_are_not_kept(server: uvicorn.Server) -> None:
    begun = b"POST /headers HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    async with knocking(url(server), begun + b"X: " + b"a" * 70_000) as raw:
        assert await raw.refusal() == (431, "headers_too_large")


async def test_an_answer_that_nobody_takes_is_given_up(server: uvicorn.Server) -> None:
    async with knocking(url(server)) as raw:
        raw.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.transport.pause_reading()
        raw.transport.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await until(lambda: bool(server.server_state.connections), "it is connected")
        await until(lambda: not server.server_state.connections, "it is not any more")


async def test_an_answer_that_is_taken_slowly_arrives_whole(server: uvicorn.Server) -> None:
    """For longer than the connection may be idle, and than it may take nothing."""
    async with knocking(url(server)) as clock, knocking(url(server)) as raw:
        clock.transport.write(b"GET /headers HTTP/1.1\r\nHost: here\r\n\r\n")
        raw.transport.pause_reading()
        raw.transport.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await until(lambda: server.server_state.total_requests == 2, "both are answered")
        await clock.hung_up()
        while len(raw.got) < LARGE:
            raw.transport.resume_reading()
            await asyncio.wait_for(raw.heard.wait(), 5)
            raw.heard.clear()
            raw.transport.pause_reading()
        assert raw.got.count(b"1") >= LARGE


async def test_a_body_that_we_do_not_read_does_not_stall(server: uvicorn.Server) -> None:
    begun = b"POST /headers/later HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % LARGE
    async with knocking(url(server), begun + b"1" * LARGE) as raw, knocking(url(server)) as clock:
        clock.transport.write(b"GET /headers HTTP/1.1\r\nHost: here\r\n\r\n")
        await clock.hung_up()
        may_read.set()
        await until(lambda: b"]" in raw.got, "the answer comes")
        assert raw.got.startswith(b"HTTP/1.1 200")
