"""Probes answer whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from familyai.cli.probes import Health, HttpProbe, PingProbe, health_words
from tests.support import free_port


@asynccontextmanager
async def server(reply: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/health", seen


def reply(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, '{"status":"ok"}', "ok"),
        (200, "OK", "answers"),
        (200, '{"object":"list","data":[]}', "answers"),
        (503, '{"status":"loading"}', "loading"),
        (
            503,
            '{"status":"unavailable","parts":{"broker":"ok","queue chat":"no worker"}}',
            "unavailable: queue chat no worker",
        ),
        (502, "<html>", "answers 502"),
        (500, "[1]", "answers 500"),
    ],
)
def test_words(status: int, body: str, words: str) -> None:
    assert health_words(status, body) == words


async def test_200_is_healthy() -> None:
    async with server(reply(200, '{"status":"ok"}')) as (url, _):
        assert await HttpProbe(url)() == Health(True, "ok")


async def test_503_is_not() -> None:
    async with server(reply(503, '{"status":"loading"}')) as (url, _):
        assert await HttpProbe(url)() == Health(False, "loading")


async def test_a_key_is_presented_and_no_proxy_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with server(reply(200, "{}")) as (url, seen):
        assert (await HttpProbe(url, "fai-key")()).healthy
    assert b"authorization: bearer fai-key" in seen[0].lower()


async def test_nobody_listening_and_nonsense_are_no_errors() -> None:
    assert await HttpProbe(f"http://127.0.0.1:{free_port()}/")() == Health(False, "starting")
    async with server(b"nonsense\r\n\r\n") as (url, _):
        assert not (await HttpProbe(url)()).healthy


async def test_ping(broker_url: str) -> None:
    assert await PingProbe(broker_url)() == Health(True, "answers")
    assert not (await PingProbe(f"redis://:x@127.0.0.1:{free_port()}/0")()).healthy
    assert not (await PingProbe(broker_url.replace(":", ":wrong", 2))()).healthy
