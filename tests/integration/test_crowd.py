"""Ten thousand connections that say nothing, and bodies without an end: the household is served all the same."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import psutil
import pytest

from api.__main__ import OTHER_FILES
from familyai.allowance import Role
from familyai.limits import Limits
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess

CROWD, ADDRESSES = 10_000, 40
"""Fewer from each address than its share."""
LIMITS = Limits()
CHAT = "/v1/chat/completions"
LONG = 400
"""MB; without a limit the front would hold them."""


@pytest.fixture
def many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CROWD + 1000:
        pytest.skip(f"needs {CROWD} open files, may have {hard}: raise `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, CROWD + 1000)), hard))


@pytest.fixture
async def client(
    start_process: StartProcess, worker: Process, members: MemberStore
) -> AsyncIterator[httpx.AsyncClient]:
    _, key = await members.add("ada", Role.ADULT)
    async with httpx.AsyncClient(
        base_url=start_process("api").url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
    ) as made:
        yield made


@pytest.fixture
def front(client: httpx.AsyncClient) -> psutil.Process:
    listening = [one for one in psutil.net_connections("tcp4") if one.laddr and one.laddr.port == client.base_url.port]
    return psutil.Process(next(one.pid for one in listening if one.pid and one.status == psutil.CONN_LISTEN))


async def connected(port: int, source: str) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    return made


async def test_ten_thousand_idle_connections_take_nobody_s_place(
    many_files: None, client: httpx.AsyncClient, front: psutil.Process
) -> None:
    port = client.base_url.port
    assert port
    before = front.memory_info().rss
    crowd = [await connected(port, f"127.0.1.{number % ADDRESSES + 1}") for number in range(CROWD)]
    answer = await client.post(CHAT, json={"model": "auto", "messages": [{"role": "user", "content": "Hi"}]})

    assert answer.status_code == 200
    assert front.num_fds() < LIMITS.connections + OTHER_FILES
    assert front.memory_info().rss - before < 150e6
    for one in crowd:
        one.close()


async def test_endless_bodies_do_not_grow_the_front(client: httpx.AsyncClient, front: psutil.Process) -> None:
    before = front.memory_info().rss
    await asyncio.gather(*(endless(client) for _ in range(4)))

    assert front.memory_info().rss - before < LONG * 1e6 / 2
    assert (await client.get("/health")).status_code == 200


async def endless(client: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(LONG // 4):
            yield b"1" * 10**6

    with suppress(httpx.TransportError):
        assert (await client.post(CHAT, content=body())).status_code == 413
