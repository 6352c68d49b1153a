"""Two workers of one model know of one another, and Celery is woken when there is room again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from familyai import cancel, keys
from familyai.lanes import Priority, lanes
from familyai.service import ServiceStore
from tests.support import a_job
from tests.workers.delivering import MODEL, arrived, fairness_of, turns_of
from workers.fairness import Fairness, Waker
from workers.turns import Turns

NAMES = [lane.name for lane in lanes("q", 3) if lane.priority is Priority.INTERACTIVE]


@pytest.fixture
def turns() -> Turns:
    return turns_of()


@pytest.fixture
async def fairness(redis: Redis, turns: Turns) -> AsyncIterator[Fairness]:
    made = fairness_of(redis, turns)
    running = asyncio.create_task(made.run())
    yield made
    await cancel.end([running])


async def until_counter(redis: Redis, lane: str, counter: float) -> None:
    async with asyncio.timeout(10):
        while await redis.zscore(keys.service("q"), lane) != counter:  # noqa: ASYNC110 (the server has no event for it)
            await asyncio.sleep(0.005)


async def test_what_one_worker_charged_the_other_knows(redis: Redis, fairness: Fairness, turns: Turns) -> None:
    turn = arrived(turns, a_job(lane_number=1, cost=7.0))
    with fairness.running(turn, lambda: 7.0):
        await until_counter(redis, "q.01", 7.0)
    other = turns_of()
    other.learn(await ServiceStore(redis).exchange("q", {}))
    assert other.lanes(NAMES) == ["q.00", "q.02", "q.01"]


async def test_a_running_job_is_charged_as_it_grows(redis: Redis, fairness: Fairness, turns: Turns) -> None:
    turn, cost = arrived(turns, a_job(cost=2.0)), 2.0
    with fairness.running(turn, lambda: cost):
        await until_counter(redis, "q.00", 2.0)
        cost = 30.0
        await until_counter(redis, "q.00", 30.0)
        cost = 40.0
    await until_counter(redis, "q.00", 40.0)


async def test_what_the_broker_may_not_have_heard_is_told_again_and_counts_once(redis: Redis, turns: Turns) -> None:
    class Mute(ServiceStore):
        answers = False

        async def exchange(self, *told: Any, **about: Any) -> dict[str, float]:
            heard = await super().exchange(*told, **about)
            if not self.answers:
                raise ConnectionError("the answer was lost")
            return heard

    store = Mute(redis)
    fairness = Fairness("q", "w", turns, store, Waker(redis, "w", turns))
    arrived(turns, a_job(cost=2.0))
    for _ in range(3):
        await fairness._exchange()
    arrived(turns, a_job(lane_number=1, cost=5.0))
    store.answers = True
    await fairness._exchange()
    assert await redis.zrange(keys.service("q"), 0, -1, withscores=True) == [(b"q.00", 2.0)]
    await fairness._exchange()
    assert await redis.zscore(keys.service("q"), "q.01") == 5.0
    await fairness._exchange()
    assert await redis.zscore(keys.service("q"), "q.01") == 5.0


@pytest.fixture
async def celery(broker_url: str) -> AsyncIterator[Redis]:
    """A connection that stands where kombu's stands."""
    made = Redis.from_url(broker_url, client_name="w", single_connection_client=True)
    yield made
    await made.aclose()


async def test_celery_asks_again_when_a_lane_that_was_left_out_has_room(
    redis: Redis, celery: Redis, fairness: Fairness, turns: Turns
) -> None:
    turns_begun = [arrived(turns, a_job()) for _ in range(MODEL.slots)]
    asked = turns.lanes(NAMES)
    assert "q.00" not in asked
    waiting = asyncio.create_task(celery.brpop(asked, timeout=30))
    with fairness.running(turns_begun[0], lambda: 1.0):
        await until_blocked(redis)
    assert await asyncio.wait_for(waiting, 10) is None  # long before its own time was over
    assert turns.outdated  # until kombu asks
    assert "q.00" in turns.lanes(NAMES)


async def test_another_client_is_never_woken_though_it_has_the_number_that_celery_had(
    redis: Redis, broker_url: str, turns: Turns
) -> None:
    """As when the broker was started again, and counts from 1 once more."""
    other = Redis.from_url(broker_url, client_name="other", single_connection_client=True)
    number = await other.client_id()
    waiting = asyncio.create_task(other.blpop(["somewhere"], timeout=30))
    await until_blocked(redis)
    waker = Waker(redis, "w", turns)
    waker._client_id = str(number)
    await waker._unblock()
    await redis.lpush("somewhere", "a message")
    assert await asyncio.wait_for(waiting, 10) == (b"somewhere", b"a message")
    await other.aclose()


async def test_nobody_is_woken_when_all_lanes_were_asked(
    redis: Redis, celery: Redis, fairness: Fairness, turns: Turns
) -> None:
    turn = arrived(turns, a_job())
    waiting = asyncio.create_task(celery.brpop(turns.lanes(NAMES), timeout=30))
    with fairness.running(turn, lambda: 1.0):
        await until_blocked(redis)
    assert not turns.outdated
    await redis.lpush("q.01", "a message")
    assert await asyncio.wait_for(waiting, 10) == (b"q.01", b"a message")


async def until_blocked(redis: Redis) -> None:
    async with asyncio.timeout(10):
        while not any("b" in client["flags"] for client in await redis.client_list()):  # noqa: ASYNC110 (nor for this)
            await asyncio.sleep(0.005)
