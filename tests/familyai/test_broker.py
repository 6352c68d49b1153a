"""A client of the broker answers or fails within its time, and takes a burst or a restart as it comes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from familyai.broker import BROKER_ERRORS, CONNECTIONS, connect, connect_pubsub
from tests.integration.proxy import Proxy
from tests.support import Broker, free_port


@asynccontextmanager
async def client_of(url: str, timeout_s: float = 5.0) -> AsyncIterator[Redis]:
    client = connect(url, timeout_s=timeout_s)
    yield client
    await client.aclose()


@pytest.mark.parametrize("make", [connect, connect_pubsub])
async def test_nobody_there_is_one_of_the_errors_that_callers_expect(make: Callable[[str], Redis]) -> None:
    client = make(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(BROKER_ERRORS):
        await client.ping()
    await client.aclose()


async def test_a_wrong_password_is_too(broker_url: str) -> None:
    async with client_of(broker_url.replace("://:", "://:wrong", 1)) as client:
        with pytest.raises(BROKER_ERRORS):
            await client.ping()


def test_a_broken_connection_is_one_of_them_under_uvloop_too(broker: Broker, broker_url: str) -> None:
    """Which raises RuntimeError where one writes to it, unless it breaks in the very moment."""

    async def ask(line: Proxy) -> None:
        pubsub = connect_pubsub(broker_url.replace(f":{broker.port}/", f":{line.port}/")).pubsub()
        await pubsub.subscribe("channel")
        line.reset()
        async with asyncio.timeout(10):
            while not pubsub.connection._writer.transport.is_closing():  # noqa: ASYNC110 (it sets no event)
                await asyncio.sleep(0)
        await pubsub.ping()

    with Proxy(broker.port).running() as line, pytest.raises(BROKER_ERRORS):
        uvloop.run(ask(line))


async def test_a_broker_that_hangs_does_not_hang_its_clients(own_broker: Broker) -> None:
    async with client_of(own_broker.url, timeout_s=1) as client:
        await client.ping()
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(10):  # well above the client's own limit, below the library's
                with pytest.raises(RedisTimeoutError):
                    await client.ping()
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)


async def test_more_commands_than_connections_wait_their_turn(broker_url: str) -> None:
    async with client_of(broker_url) as client:
        counts = await asyncio.gather(*(client.incr("counter") for _ in range(CONNECTIONS * 10)))
    assert sorted(counts) == list(range(1, CONNECTIONS * 10 + 1))


async def test_the_first_command_after_a_restart_succeeds(own_broker: Broker) -> None:
    async with client_of(own_broker.url) as client:
        await client.ping()
        own_broker.kill()
        await asyncio.to_thread(own_broker.start)
        assert await client.ping()
