"""What was deleted is on no disk any more once the broker has written its append-only file anew."""

import logging
from pathlib import Path

import pytest
from redis.asyncio import Redis

from api.erase import Eraser
from familyai import keys
from familyai.broker import connect
from tests.support import Broker, wait_until

WORD = b"aubergine"
LONG_S = 3600.0


@pytest.fixture
async def redis(own_broker: Broker) -> Redis:
    return connect(own_broker.url)


def on_disk(folder: Path) -> bool:
    return any(WORD in path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_what_is_over_leaves_the_disk(redis: Redis, tmp_path: Path) -> None:
    await redis.hset("familyai:job:1", "job", WORD)
    await redis.hdel("familyai:job:1", "job")
    wait_until(lambda: on_disk(tmp_path), "the broker has written it")
    assert await Eraser(redis, LONG_S).erase() == LONG_S
    wait_until(lambda: not on_disk(tmp_path), "the broker has written its file anew")


async def test_what_waits_stays(redis: Redis, own_broker: Broker) -> None:
    await redis.hset("familyai:job:1", "job", WORD)
    await Eraser(redis, LONG_S).erase()
    while (await redis.info("persistence"))["aof_rewrite_in_progress"]:
        pass
    own_broker.kill()
    own_broker.start()
    assert await redis.hget("familyai:job:1", "job") == WORD


async def test_of_several_fronts_one_has_it_rewritten(redis: Redis) -> None:
    await Eraser(redis, LONG_S).erase()
    assert 0 < await Eraser(redis, LONG_S).erase() <= LONG_S
    assert (await redis.info("commandstats"))["cmdstat_bgrewriteaof"]["calls"] == 1
    await redis.delete(keys.REWRITTEN)
    while (await redis.info("persistence"))["aof_rewrite_in_progress"]:
        pass
    await Eraser(redis, LONG_S).erase()
    assert (await redis.info("commandstats"))["cmdstat_bgrewriteaof"]["calls"] == 2


async def test_a_broker_that_writes_no_file_is_not_made_to(redis: Redis) -> None:
    await redis.config_set("appendonly", "no")
    await Eraser(redis, LONG_S).erase()
    assert "cmdstat_bgrewriteaof" not in await redis.info("commandstats")


async def test_a_rewriting_that_failed_is_said(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def failed(_: str) -> dict[str, object]:
        return {"aof_enabled": 1, "aof_last_bgrewrite_status": "err"}

    monkeypatch.setattr(redis, "info", failed)
    with caplog.at_level(logging.WARNING):
        await Eraser(redis, LONG_S).erase()
    assert [vars(record)["action"] for record in caplog.records] == ["broker.not_erased"]
