"""The faulty line does what its tests think it does."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.proxy import Proxy

LIMIT_S = 10
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    """Of a server that says again what it hears."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while heard := await reader.read(65_536):
                writer.write(heard)
                await writer.drain()
        except ConnectionResetError:
            pass
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
def proxy(echo_port: int) -> Iterator[Proxy]:
    with Proxy(echo_port).running() as made:
        yield made


async def connect(proxy: Proxy) -> Line:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def ask(line: Line, question: bytes) -> bytes:
    reader, writer = line
    writer.write(question)
    await writer.drain()
    async with asyncio.timeout(LIMIT_S):
        return await reader.readexactly(len(question))


async def test_everything_passes_in_order(proxy: Proxy) -> None:
    question = b"".join(number.to_bytes(4) for number in range(1_000_000))
    reader, writer = await connect(proxy)
    writer.write(question)
    async with asyncio.timeout(LIMIT_S):
        assert await reader.readexactly(len(question)) == question


async def test_a_delay_is_taken_there_and_back(proxy: Proxy) -> None:
    line = await connect(proxy)
    assert await ask(line, b"soon") == b"soon"
    proxy.delay(0.2)
    began_s = time.monotonic()
    assert await ask(line, b"late") == b"late"
    assert time.monotonic() - began_s >= 0.4, "it never takes less"


async def test_a_reset_breaks_every_connection_and_welcomes_new_ones(proxy: Proxy) -> None:
    lines = [await connect(proxy) for _ in range(3)]
    for line in lines:
        await ask(line, b"here")
    proxy.reset()
    for line in lines:
        with pytest.raises(ConnectionResetError):
            await ask(line, b"gone")
    assert await ask(await connect(proxy), b"again") == b"again"


async def test_a_refused_connection_is_possible_again_on_the_same_port(proxy: Proxy) -> None:
    line = await connect(proxy)
    await ask(line, b"here")
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        await ask(line, b"gone")
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    proxy.accept()
    assert await ask(await connect(proxy), b"again") == b"again"


async def test_a_stall_holds_back_and_loses_nothing(proxy: Proxy) -> None:
    old = await connect(proxy)
    await ask(old, b"here")
    proxy.stall()
    new = await connect(proxy)
    answers = [asyncio.create_task(ask(line, b"patience")) for line in (old, new)]
    done, _ = await asyncio.wait(answers, timeout=0.2)
    assert not done
    proxy.flow()
    assert await asyncio.gather(*answers) == [b"patience", b"patience"]


async def test_a_stall_can_be_reset(proxy: Proxy) -> None:
    line = await connect(proxy)
    await ask(line, b"here")
    proxy.stall()
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await ask(line, b"gone")


async def test_last_words_arrive_before_the_end() -> None:
    async def say_farewell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"farewell")
        writer.close()

    server = await asyncio.start_server(say_farewell, "127.0.0.1", 0)
    async with server, asyncio.timeout(LIMIT_S):
        with Proxy(server.sockets[0].getsockname()[1]).running() as proxy:
            reader, writer = await connect(proxy)
            assert await reader.read() == b"farewell"
            writer.close()


async def test_without_a_server_there_is_nobody(proxy: Proxy) -> None:
    with Proxy(1).running() as nowhere, pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await ask(await connect(nowhere), b"anybody?")
