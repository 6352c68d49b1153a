"""One front process at a time."""

import pytest
from redis.asyncio import Redis

from api.work import lease
from api.work.lease import Lease


async def test_the_first_holds_it_until_it_lets_go(redis: Redis) -> None:
    first, second = Lease(redis, "front-1"), Lease(redis, "front-2")
    assert await first.hold()
    assert not await second.hold()
    assert await first.hold()
    assert (first.held, second.held) == (True, False)
    await second.release()
    assert not await second.hold()
    await first.release()
    assert await second.hold()
    assert not await first.hold()


async def test_a_holder_that_falls_silent_loses_it(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TTL_S", 0.01)
    first, second = Lease(redis, "front-1"), Lease(redis, "front-2")
    assert await first.hold()
    while not await second.hold():
        pass
    assert not first.held
