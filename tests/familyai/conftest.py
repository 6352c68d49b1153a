"""The contract's transport tests run over the real server, and over fakeredis, a second reading of Redis's rules."""

from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from familyai.broker import connect


@pytest.fixture(params=["fake", "server"])
async def any_redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """An empty broker of either kind."""
    client = FakeAsyncRedis() if request.param == "fake" else connect(request.getfixturevalue("broker_url"))
    yield client
    await client.aclose()
