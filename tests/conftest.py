"""Servers that the tests share: a real broker, started once, and emptied before each test that asks for it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from familyai.broker import connect
from tests.support import Broker
from workers import telemetry

telemetry.turn_off()  # for engines that tests load themselves
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

HERE = Path(__file__).parent
SHORT = {"api", "familyai", "routing"}


class ByFile(LoadFileScheduling):
    """A file's tests run in one process, one after the other; those of the stack with real engines all in the same."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/acceptance" if nodeid.startswith("tests/acceptance/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    config.option.loadscopereorder = False  # as collected
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Short ones come last, so that no process is left with a long file when the others are done."""
    items.sort(key=lambda item: item.path.relative_to(HERE).parts[0] in SHORT)


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
