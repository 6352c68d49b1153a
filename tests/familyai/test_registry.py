"""A worker or a front is alive as long as it says so."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.registry import (
    FRONT_LATE_S,
    FRONT_TTL_S,
    HEARTBEAT_INTERVAL_S,
    HEARTBEAT_TTL_S,
    FrontRegistry,
    WorkerRegistry,
)


@pytest.fixture
def registry(any_redis: Redis) -> WorkerRegistry:
    return WorkerRegistry(any_redis)


@pytest.fixture
def fronts(any_redis: Redis) -> FrontRegistry:
    return FrontRegistry(any_redis)


async def last_beat(redis: Redis, front: str, seconds_ago: float) -> None:
    await redis.zadd(keys.FRONTS, {front: await broker_time_s(redis) + FRONT_TTL_S - seconds_ago})


async def broker_time_s(redis: Redis) -> float:
    seconds, microseconds = await redis.time()
    return float(seconds) + microseconds / 1e6


async def test_who_beats_is_alive_on_its_own_queue(registry: WorkerRegistry) -> None:
    await registry.beat("chat", "w1")
    await registry.beat("chat", "w2")
    await registry.beat("vision", "w3")
    assert await registry.alive(["vision", "chat", "asr"]) == {"vision": {"w3"}, "chat": {"w1", "w2"}, "asr": set()}


async def test_asking_about_no_queue(registry: WorkerRegistry) -> None:
    assert await registry.alive([]) == {}


async def test_a_beat_lasts_for_its_time_by_the_broker_s_clock(registry: WorkerRegistry, any_redis: Redis) -> None:
    before_s = await broker_time_s(any_redis)
    await registry.beat("chat", "w1")
    score = await any_redis.zscore(keys.workers("chat"), "w1")
    assert score is not None
    assert before_s + HEARTBEAT_TTL_S - 0.01 <= score <= await broker_time_s(any_redis) + HEARTBEAT_TTL_S + 0.01


async def test_who_no_longer_beats_is_not_alive(registry: WorkerRegistry, any_redis: Redis) -> None:
    await any_redis.zadd(keys.workers("chat"), {"late": await broker_time_s(any_redis) - 0.001})
    await registry.beat("chat", "w1")
    assert await registry.alive(["chat"]) == {"chat": {"w1"}}


async def test_who_was_late_is_alive_again_with_the_next_beat(registry: WorkerRegistry, any_redis: Redis) -> None:
    await any_redis.zadd(keys.workers("chat"), {"w1": 0})
    await registry.beat("chat", "w1")
    assert await registry.alive(["chat"]) == {"chat": {"w1"}}


async def test_long_dead_workers_are_forgotten(registry: WorkerRegistry, any_redis: Redis) -> None:
    now_s = await broker_time_s(any_redis)
    await any_redis.zadd(keys.workers("chat"), {"yesterday": now_s - 86_400, "a minute ago": now_s - 60})
    await registry.beat("chat", "w1")
    assert await any_redis.zrange(keys.workers("chat"), 0, -1) == [b"a minute ago", b"w1"]


async def test_who_leaves_is_gone_at_once(registry: WorkerRegistry) -> None:
    await registry.beat("chat", "w1")
    await registry.leave("chat", "w1")
    await registry.leave("chat", "w1")
    assert await registry.alive(["chat"]) == {"chat": set()}


def test_several_beats_may_fail_before_a_worker_counts_as_dead() -> None:
    assert HEARTBEAT_TTL_S >= 3 * HEARTBEAT_INTERVAL_S


async def test_a_front_that_no_longer_beats_is_dead(fronts: FrontRegistry, any_redis: Redis) -> None:
    await fronts.beat("steady")
    await last_beat(any_redis, "dead", FRONT_TTL_S + 0.1)
    await last_beat(any_redis, "slow", FRONT_TTL_S - 1)
    assert await fronts.beat("steady") == ["dead"]


async def test_a_new_front_cannot_tell_who_is_dead(fronts: FrontRegistry, any_redis: Redis) -> None:
    await last_beat(any_redis, "dead", 100)
    assert await fronts.beat("new") is None
    assert await fronts.beat("new") == ["dead"]


async def test_who_beats_first_after_the_broker_stood_still_takes_nobody_for_dead(
    fronts: FrontRegistry, any_redis: Redis
) -> None:
    """The others' last beats are a second older than its own at most."""
    for late_s in (FRONT_LATE_S + 0.1, FRONT_TTL_S + 0.1, 100):
        await last_beat(any_redis, "first", late_s)
        await last_beat(any_redis, "second", late_s + HEARTBEAT_INTERVAL_S)
        assert await fronts.beat("first") is None
    await last_beat(any_redis, "first", FRONT_LATE_S / 2)
    await last_beat(any_redis, "second", FRONT_LATE_S / 2 + HEARTBEAT_INTERVAL_S)
    assert await fronts.beat("first") == []


async def test_a_front_that_left_is_not_dead(fronts: FrontRegistry, any_redis: Redis) -> None:
    await fronts.beat("steady")
    await last_beat(any_redis, "stopped", 100)
    await fronts.leave("stopped")
    await fronts.leave("stopped")
    assert await fronts.beat("steady") == []


@pytest.fixture
async def full_broker(redis: Redis) -> AsyncIterator[Redis]:
    """A real one that has memory for nothing new."""
    yield redis
    await redis.config_set("maxmemory", 0)


async def test_who_beats_on_a_full_broker_lives_on(full_broker: Redis) -> None:
    registry, fronts = WorkerRegistry(full_broker), FrontRegistry(full_broker)
    await full_broker.config_set("maxmemory", 1)
    for _ in range(2):
        await registry.beat("chat", "w1")
        await fronts.beat("front")
    assert await registry.alive(["chat"]) == {"chat": {"w1"}}
    assert await full_broker.zrange(keys.FRONTS, 0, -1) == [b"front"]


def test_a_late_front_is_not_yet_a_dead_one() -> None:
    assert FRONT_LATE_S + HEARTBEAT_INTERVAL_S < FRONT_TTL_S
