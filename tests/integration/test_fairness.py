"""Lanes and their order over a real broker: who is begun, in which order, and how many at once. No times."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.jobs import State
from familyai.lanes import Priority, hand, lane_named
from tests.integration.conftest import Caller, StartProcess
from tests.integration.household import (
    ADA,
    BEN,
    LIMIT_S,
    WORDS,
    Household,
    _add_members,
    _are_running,
    _is,
    _lane_of_a_question,
    _reserved,
    _served,
    _was_put_back,
    between,
    until,
)


@pytest.fixture
async def household(caller: Caller, redis: Redis, start_process: StartProcess, tmp_path: Path) -> Household:
    return Household(caller, redis, start_process, tmp_path)


async def test_a_newcomer_is_next_behind_a_flood(household: Household) -> None:
    household.open(slots=1, reserve_slots=0)
    flood = await household.ask(ADA, 12, lasts_s=0.3)
    household.worker()
    await household.answered(flood[:3])
    (first,) = await household.ask(BEN)
    await household.answered([*flood, first])
    order = await household.begun([*flood, first])
    assert len(order) == 13
    assert between(order, first.created_at_s, first.lane) <= 2  # one runs, one may have been taken already


async def test_who_waits_longest_in_a_lane_is_begun_first(household: Household) -> None:
    household.open(slots=1, reserve_slots=0)
    asked = await household.ask(ADA, 10)
    household.worker()
    await household.answered(asked)
    assert [one.id for one in await household.begun(asked)] == [job.id for job in asked]


async def test_twice_the_weight_is_served_twice_as_much(household: Household) -> None:
    household.open(slots=1, reserve_slots=0)
    asked = await household.ask(ADA, 24, weight=2.0) + await household.ask(BEN, 12)
    household.worker()
    await household.answered(asked)
    order = await household.numbers(asked)
    assert len(order) == 36
    for count in range(1, 37):
        assert abs(order[:count].count(ADA) - 2 * order[:count].count(BEN)) <= 2  # one job of the lighter


async def test_who_asks_for_more_each_time_is_begun_less_often(household: Household) -> None:
    household.open(slots=1, reserve_slots=0)
    asked = await household.ask(ADA, 5, words=5 * WORDS) + await household.ask(BEN, 25)
    household.worker()
    await household.answered(asked)
    order = await household.numbers(asked)
    for count in range(1, 31):
        assert abs(5 * order[:count].count(ADA) - order[:count].count(BEN)) <= 5  # one of the longer


async def test_two_workers_are_about_as_fair_as_one(household: Household) -> None:
    household.open(slots=1, reserve_slots=0)
    household.worker()
    household.worker()
    holding = await household.ask(2, 2, lasts_s=1000)
    await until(lambda: _are_running(household, 2), "both are taken")
    asked = await household.ask(ADA, 40) + await household.ask(BEN, 40)
    for job in holding:
        await household.jobs.cancel(job.id)
    await household.answered(asked)
    order = await household.begun(asked)
    numbers = [lane_named(one.lane).number for one in order]
    assert len({one.worker for one in order}) == 2
    for count in range(1, len(numbers)):
        left = (numbers[count:].count(ADA), numbers[count:].count(BEN))
        if all(left):
            assert abs(numbers[:count].count(ADA) - numbers[:count].count(BEN)) <= 4  # 2 slots, 1 for each worker


async def test_what_other_workers_charged_counts_from_the_first_job_on(household: Household, redis: Redis) -> None:
    household.open(slots=1, reserve_slots=0)
    asked = await household.ask(ADA, 12) + await household.ask(BEN, 12)
    await redis.zadd(keys.service("chat-fast"), {asked[0].lane: 6 * asked[0].cost})
    household.worker()
    await household.answered(asked)
    order = await household.numbers(asked)
    assert order[:6] == [BEN] * 6
    assert order[6:8].count(BEN) == 1


async def test_interactive_before_background_before_batch(household: Household) -> None:
    household.open(slots=1, reserve_slots=0, background_share=0, batch_share=0)
    asked = [job for priority in reversed(Priority) for job in await household.ask(ADA, 5, priority=priority)]
    household.worker()
    await household.answered(asked)
    priorities = [lane_named(one.lane).priority for one in await household.begun(asked)]
    assert priorities == [priority for priority in Priority for _ in range(5)]


async def test_batch_work_gets_its_share_of_a_busy_model(household: Household) -> None:
    household.open(slots=1, reserve_slots=0, background_share=0, batch_share=0.2)
    asked = await household.ask(ADA, 40) + await household.ask(BEN, 20, priority=Priority.BATCH)
    household.worker()
    await household.answered(asked)
    order = await household.numbers(asked)
    for count in range(1, 41):
        assert abs(order[:count].count(BEN) - 0.2 * count) <= 1
    assert order[-8:].count(ADA) == 0  # and all there is, once nobody else waits


async def test_a_lane_leaves_a_place_that_a_newcomer_takes_at_once(household: Household) -> None:
    household.open(slots=2, reserve_slots=1)
    household.worker()
    flood = await household.ask(ADA, 6, lasts_s=1000)
    await until(lambda: _are_running(household, 2), "as many run as a lane may have")
    (newcomer,) = await household.ask(BEN)
    await household.answered([newcomer])
    assert len(await household.running() & {job.id for job in flood}) == 2
    assert [await household.state(job) for job in flood].count(State.QUEUED) == 4


async def test_batch_work_of_all_members_leaves_the_reserve(household: Household) -> None:
    household.open(slots=2, reserve_slots=1)
    household.worker()
    batch = await household.ask(ADA, 3, lasts_s=1000, priority=Priority.BATCH)
    batch += await household.ask(BEN, 3, lasts_s=1000, priority=Priority.BATCH)
    await until(lambda: _are_running(household, 2), "as many run as may")
    (newcomer,) = await household.ask(2)
    await household.answered([newcomer])
    assert len(await household.running() & {job.id for job in batch}) == 2


async def test_a_lane_at_its_cap_goes_on_as_soon_as_a_place_is_free(household: Household) -> None:
    """A request for messages that nobody wakes stays pending for longer than the test waits."""
    household.open(slots=1, reserve_slots=1)
    household.patient_worker(polling_interval_s=2 * LIMIT_S)
    asked = await household.ask(ADA, 20)
    await household.answered(asked)
    assert len(await household.begun(asked)) == 20


async def test_a_member_at_the_cap_goes_on_as_soon_as_one_of_theirs_has_ended(household: Household) -> None:
    household.open(slots=2, reserve_slots=1)
    household.patient_worker(polling_interval_s=2 * LIMIT_S)
    asked = [job for _ in range(6) for job in await _reserved(household, ADA, most_running=1)]
    await household.answered(asked)
    begun = await household.begun(asked)
    assert len(begun) == 6


async def test_a_running_cap_holds_over_two_models(household: Household) -> None:
    household.open(slots=2, reserve_slots=1, queues=("chat-fast", "vision"))
    household.worker()
    household.worker("vision")
    (chat,) = await _reserved(household, ADA, lasts_s=1000, most_running=1)
    await until(lambda: _is(household, chat, State.RUNNING), "the first runs")
    (held,) = await _reserved(household, ADA, queue="vision", most_running=1)
    for _ in range(3):  # others are served meanwhile
        await household.answered(await household.ask(BEN, queue="vision"))
    assert await household.state(held) is State.QUEUED
    await household.jobs.cancel(chat.id)
    await household.answered([held])


async def test_a_wide_job_is_begun_in_its_turn(household: Household) -> None:
    """It waits until it has room, and nobody takes the places that become free meanwhile."""
    household.open(slots=4, reserve_slots=0)
    flood = await household.ask(ADA, 24, lasts_s=0.3)
    household.worker()
    await household.answered(flood[:1])
    (wide,) = await household.ask(BEN, width=4)
    await household.answered([*flood, wide])
    order = await household.begun([*flood, wide])
    assert between(order, wide.created_at_s, wide.lane) <= 8  # as many as ran or were taken already
    assert len(order) == 25


async def test_a_wide_job_is_put_back_once_and_then_left_until_it_has_room(household: Household, redis: Redis) -> None:
    household.open(slots=4, reserve_slots=0)
    household.patched_worker("import workers.fairness; workers.fairness.TOO_WIDE_S = 1000")
    (blocking,) = await household.ask(2, lasts_s=1000)
    await until(lambda: _are_running(household, 1), "somebody runs")
    await redis.config_resetstat()
    (wide,) = await household.ask(BEN, width=4)
    await until(lambda: _was_put_back(redis), "it was put back")
    await household.ask(ADA, 3)
    await household.jobs.cancel(blocking.id)
    await household.answered([wide])
    assert (await redis.info("commandstats"))["cmdstat_rpush"]["calls"] == 1


async def test_wide_jobs_and_narrow_ones_are_served_alike(household: Household) -> None:
    household.open(slots=4, reserve_slots=1)
    asked = await household.ask(ADA, 12, width=4) + await household.ask(BEN, 40)
    household.worker()
    await household.answered(asked)
    order = await household.begun(asked)
    costs = {job.id: job.cost for job in asked}
    served = dict.fromkeys((ADA, BEN), 0.0)
    for place, one in enumerate(order):
        served[lane_named(one.lane).number] += costs[one.id]
        if {lane_named(rest.lane).number for rest in order[place + 1 :]} == {ADA, BEN}:
            assert abs(served[ADA] - served[BEN]) <= 2 * max(costs.values())


async def test_what_was_cancelled_in_the_line_costs_nothing(household: Household, redis: Redis) -> None:
    household.open(slots=1, reserve_slots=0)
    cancelled, (kept,) = await household.ask(BEN, 10), await household.ask(BEN)
    for job in cancelled:
        await household.jobs.cancel(job.id)
    household.worker()
    await household.answered([kept])
    await until(lambda: _served(redis, kept), "what it took has been told")
    assert await redis.zscore(keys.service("chat-fast"), kept.lane) == pytest.approx(kept.cost)
    assert await household.begun(cancelled) == []


async def test_what_was_charged_too_much_is_given_back(household: Household, redis: Redis) -> None:
    household.open(slots=1, reserve_slots=0)
    jobs = await household.ask(ADA, 3, cost=1000.0) + await household.ask(BEN, 3, cost=1.0)
    household.worker()  # only now: whoever came while the first was charged too much would begin level with that
    await household.answered(jobs)

    async def is_settled() -> bool:
        counters = [await redis.zscore(keys.service("chat-fast"), lane) for lane in (jobs[0].lane, jobs[-1].lane)]
        return counters == [pytest.approx(3 * 12), pytest.approx(3 * 12)]

    await until(is_settled, "both were charged with the truth")


async def test_who_was_idle_comes_back_level_with_the_others(household: Household) -> None:
    household.open(slots=1, reserve_slots=0)
    household.worker()
    alone = await household.ask(ADA, 20, lasts_s=0.1)
    await household.answered(alone[:10])
    both = await household.ask(BEN, 20, lasts_s=0.1) + await household.ask(ADA, 20, lasts_s=0.1)
    await household.answered([*alone, *both])
    order = await household.begun([*alone, *both])
    later = [lane_named(one.lane).number for one in order if (one.claimed_at_s or 0.0) > both[-1].created_at_s]
    assert abs(later[:12].count(BEN) - 6) <= 3  # no credit for the time before


async def test_members_beyond_the_last_lane_share_those_of_their_hands(
    household: Household, redis: Redis, start_process: StartProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    household.open(slots=2, reserve_slots=1, lanes=4, hand=2)
    household.worker()
    front = household.process("api")
    api_keys = await _add_members(redis, tmp_path / "fair.yaml", 6)
    lanes = {name: await _lane_of_a_question(household, front, key) for name, key in api_keys.items()}
    assert [lanes[f"member{number}"] for number in range(4)] == [0, 1, 2, 3]
    for name in ("member4", "member5"):
        assert lanes[name] in hand(name, 4, 2)


async def test_fewer_lanes_than_yesterday_orphan_nothing(household: Household) -> None:
    household.open(slots=1, reserve_slots=0, lanes=8)
    yesterday = household.worker()
    await household.answered(await household.ask(7))
    yesterday.end()
    left_behind = await household.ask(7, 3)
    household.open(slots=1, reserve_slots=0, lanes=4)
    household.worker()
    await household.answered(left_behind)
