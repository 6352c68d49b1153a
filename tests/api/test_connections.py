"""Clients that take their time, send too much, or open more connections than anybody needs."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from familyai.catalogue import Profile
from familyai.frame import Body, End
from tests.api.raw import Raw, head, knocking
from tests.api.support import PROFILE, ScriptedWorker, Served, until

HEAD_S, STALL_S, CONNECTIONS, SHARE = 1.0, 1.0, 6, 4
LIMITS = {
    **PROFILE["limits"],
    "request_head_s": HEAD_S,
    "request_head_kb": 16,
    "body_stall_s": STALL_S,
    "body_kb_per_s": 1,
    "connections": CONNECTIONS,
    "connections_per_address": SHARE,
}
CHAT = "/v1/chat/completions"
ANSWERED = b"HTTP/1.1 200 OK"


@pytest.fixture
def profile() -> Profile:
    return Profile.model_validate(PROFILE | {"limits": LIMITS})


async def alive(raw: Raw) -> None:
    """This connection still serves."""
    raw.got.clear()
    raw.transport.write(head("GET", "/health"))
    assert (await raw.answer())[0] == 200


@pytest.mark.parametrize("begun", [b"GET", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: here\r\nX-A: ", b"\r\n"])
async def test_a_head_that_does_not_come_gets_408(served: Served, begun: bytes) -> None:
    async with knocking(served.url, begun) as raw:
        assert await raw.refusal() == (408, "request_timeout")


async def test_a_head_a_byte_at_a_time_gets_408(served: Served) -> None:
    async with knocking(served.url) as raw:
        await raw.slowly(bytes((byte,)) for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 1000)
        assert await raw.refusal() == (408, "request_timeout")


async def test_who_says_nothing_is_told_nothing(served: Served) -> None:
    async with knocking(served.url) as raw:
        assert await raw.hung_up() == b""


async def test_the_next_head_has_as_long_as_the_first(served: Served) -> None:
    async with knocking(served.url) as raw:
        await alive(raw)
        raw.got.clear()
        raw.transport.write(b"\r\n")
        assert await raw.refusal() == (408, "request_timeout")


async def test_between_requests_a_connection_may_rest_for_longer(served: Served) -> None:
    async with knocking(served.url) as raw, knocking(served.url) as clock:
        await alive(raw)
        await clock.hung_up()
        await alive(raw)


@pytest.mark.parametrize("length", [{"content_length": 9000}, {"transfer_encoding": "chunked"}])
async def test_a_body_that_does_not_come_gets_408(served: Served, length: dict[str, Any]) -> None:
    async with knocking(served.url, head("POST", CHAT, served.key, **length)) as raw:
        assert await raw.refusal() == (408, "request_timeout")


async def test_a_body_a_byte_at_a_time_gets_408(served: Served) -> None:
    async with knocking(served.url, head("POST", CHAT, served.key, content_length=9000)) as raw:
        await raw.slowly(itertools.repeat(b"1", 9000))
        assert await raw.refusal() == (408, "request_timeout")


async def test_an_upload_that_stalls_leaves_nothing_behind(served: Served, tmp_path: Path) -> None:
    form = {"content_type": "multipart/form-data; boundary=x", "content_length": 10**6}
    begun = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"1" * 5000
    async with knocking(served.url, head("POST", "/v1/files", served.key, **form) + begun) as raw:
        assert await raw.refusal() == (408, "request_timeout")
    await until(lambda: not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()], "the store is empty")


async def test_a_slow_upload_that_goes_on_is_taken(served: Served) -> None:
    """For four times as long as it may stall."""
    data = b"1" * 10_000
    parts = [b"--x\r\nContent-Disposition: form-data; name=", b'"purpose"\r\n\r\nuser_data\r\n--x\r\n']
    parts += [b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n', data, b"\r\n--x--\r\n"]
    body = b"".join(parts)
    form = {"content_type": "multipart/form-data; boundary=x", "content_length": len(body)}
    async with knocking(served.url, head("POST", "/v1/files", served.key, **form)) as raw:
        await raw.slowly(body[start : start + 250] for start in range(0, len(body), 250))
        status, told = await raw.answer()
    assert (status, told["bytes"]) == (200, len(data))


async def test_who_waits_for_an_answer_is_not_hurried(served: Served, worker: ScriptedWorker) -> None:
    body = b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}'
    async with knocking(served.url, head("POST", CHAT, served.key, content_length=len(body)) + body) as raw:
        claim = await worker.take()
        await longer_than_any_limit(served)
        await worker.start(claim)
        await worker.write(claim, b"data: 1\n\n")
        await longer_than_any_limit(served)
        await worker.write(claim, b"data: 2\n\n")
        await worker.end(claim)
        await until(lambda: raw.got.endswith(b"0\r\n\r\n"), "the answer ends")
        assert raw.got.startswith(ANSWERED)
        assert b"data: 2" in raw.got


async def longer_than_any_limit(served: Served) -> None:
    for _ in range(2):
        async with knocking(served.url) as clock:
            await clock.hung_up()


@pytest.mark.parametrize(
    "flood",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /?" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 201 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000,
        b"GET / HTTP/1.1\r\n" + b"a" * 20_000,
    ],
)
async def test_a_flood_of_headers_gets_431(served: Served, flood: bytes) -> None:
    async with knocking(served.url, flood) as raw:
        assert await raw.refusal() == (431, "headers_too_large")


async def test_headers_below_the_limit_pass(served: Served) -> None:
    many = {f"X-{number}": "a" * 70 for number in range(198)}
    async with knocking(served.url, head("GET", "/health", **many)) as raw:
        assert (await raw.answer())[0] == 200


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\x00: a\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\xef\xbb\xbfGET / HTTP/1.1\r\n\r\n",
        b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ],
)
async def test_what_is_no_http_gets_400(served: Served, nonsense: bytes) -> None:
    async with knocking(served.url, nonsense) as raw:
        assert await raw.refusal() == (400, "invalid_http")


async def test_what_chunks_have_besides_data_is_bounded(served: Served) -> None:
    begun = head("POST", CHAT, served.key, transfer_encoding="chunked")
    async with knocking(served.url, begun + b"1;x=" + b"a" * 20_000) as raw:
        assert await raw.refusal() == (431, "headers_too_large")


async def test_an_endless_body_is_refused_early_and_not_read_for_ever(served: Served) -> None:
    begun = head("POST", CHAT, served.key, transfer_encoding="chunked")
    chunk = b"10000\r\n" + b"1" * 0x10000 + b"\r\n"
    async with knocking(served.url, begun) as raw:
        while not raw.heard.is_set():
            raw.transport.write(chunk)
            await asyncio.sleep(0)
        assert (await raw.answer())[1]["error"]["code"] == "request_too_large"
        while not raw.closed.is_set():
            raw.transport.write(chunk)
            await asyncio.sleep(0)


async def test_an_announced_endless_body_is_refused_unread(served: Served) -> None:
    async with knocking(served.url, head("POST", CHAT, served.key, content_length=10**15)) as raw:
        assert (await raw.answer())[1]["error"]["code"] == "request_too_large"
        await raw.hung_up()


async def test_a_stranger_s_body_is_not_read(served: Served) -> None:
    async with knocking(served.url, head("POST", CHAT, "fai-wrong", content_length=9000)) as raw:
        assert (await raw.answer())[0] == 401


async def test_many_requests_at_once_on_one_connection_are_not_kept(served: Served, worker: ScriptedWorker) -> None:
    body = b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}'
    first = head("POST", CHAT, served.key, content_length=len(body)) + body
    async with knocking(served.url, first) as raw:
        await worker.take()
        raw.transport.write(head("GET", "/health") * 1000)
        assert await raw.hung_up() == b""


async def test_one_address_s_connections_are_bounded_and_others_are_served(served: Served) -> None:
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(knocking(served.url, source="127.0.0.2")) for _ in range(SHARE + 1)]
        await idle[0].hung_up()
        assert not any(raw.closed.is_set() for raw in idle[1:])
        other = await stack.enter_async_context(knocking(served.url, source="127.0.0.3"))
        await alive(other)


async def test_where_nobody_is_idle_one_more_is_told_so(served: Served, worker: ScriptedWorker) -> None:
    body = b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}'
    asking = head("POST", CHAT, served.key, content_length=len(body)) + body
    async with AsyncExitStack() as stack:
        for _ in range(SHARE):
            await stack.enter_async_context(knocking(served.url, asking, "127.0.0.2"))
        claims = [await worker.take() for _ in range(SHARE)]
        refused = await stack.enter_async_context(knocking(served.url, source="127.0.0.2"))
        assert await refused.refusal() == (503, "too_many_connections")
        assert b"retry-after: 5" in refused.got
        await alive(await stack.enter_async_context(knocking(served.url, source="127.0.0.3")))
        for claim in claims:
            await worker.say(claim, Body(claim.job.id, 1, 1, b""), End(claim.job.id, 1, 2))
