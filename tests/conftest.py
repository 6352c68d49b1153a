"""Servers that the tests share: a real broker, started once, and emptied before each test that asks for it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from familyai.broker import connect
from tests.support import Broker
from workers import telemetry

telemetry.turn_off()  # for engines that tests load themselves


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    server = Broker(tmp_path_factory.mktemp("broker"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def broker_url(broker: Broker) -> str:
    """The shared broker, empty."""
    SyncRedis.from_url(broker.url).flushall()
    return broker.url


@pytest.fixture
async def redis(broker_url: str) -> AsyncIterator[Redis]:
    client = connect(broker_url)
    yield client
    await client.aclose()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that a test may kill; it keeps what was written, as the household's own does."""
    server = Broker(tmp_path)
    server.start()
    yield server
    server.kill()
