"""The contract's transport tests run over the real server, and over fakeredis, a second reading of Redis's rules."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fakeredis import FakeAsyncRedis
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from familyai.broker import connect


@pytest.fixture(params=["fake", "server"])
async def any_redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """An empty broker of either kind."""
    client = FakeAsyncRedis() if request.param == "fake" else connect(request.getfixturevalue("broker_url"))
    yield client
    await client.aclose()


@pytest.fixture
def broker_client(broker_url: str) -> Iterator[SyncRedis]:
    """For tests without a loop."""
    with SyncRedis.from_url(broker_url) as client:
        yield client
