"""At the gate: what waits, what the front dispatches, and what is left over."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from api.gate import Gate, check_hours, check_width, opens_at
from familyai import keys
from familyai.allowance import Allowance, may_ask_at
from familyai.broker import BROKER_ERRORS, connect
from familyai.catalogue import Profile, Task
from familyai.errors import BadRequest, Forbidden, LimitReached
from familyai.lanes import Priority
from familyai.quota import REQUESTS_PER_MINUTE, Windows
from tests.api.knocking import CLOCK, a_member, asking, at, end, entered, refused, under_way, used
from tests.api.support import PROFILE
from tests.clock import pass_time
from tests.support import a_job, free_port


async def test_as_many_wait_as_may(gate: Gate, redis: Redis) -> None:
    member = a_member(waiting=2)
    await gate.enter(member, asking())
    first = asking()
    await gate.enter(member, first)
    error = await refused(gate, member, asking())
    assert (error.code, error.retry_after_s) == ("too_many_waiting", 10)
    assert error.message.startswith("2 of your questions are waiting already.")
    await gate.leave("leo", first.id)
    await gate.enter(member, asking())


async def test_what_runs_no_longer_waits(gate: Gate, redis: Redis) -> None:
    member, job = a_member(waiting=1), asking()
    await gate.enter(member, job)
    entry = await redis.hget(keys.in_flight("leo"), job.id)
    assert entry is not None
    await redis.hset(keys.in_flight("leo"), job.id, b"r" + entry[1:])
    await gate.enter(member, asking())


async def test_batch_work_waits_apart_but_not_without_end(gate: Gate) -> None:
    member = a_member(waiting=2)
    for _ in range(2):
        await gate.enter(member, asking(priority=Priority.BATCH), dispatched=True)
    await gate.enter(member, asking())
    with pytest.raises(LimitReached) as raised:
        await gate.enter(member, asking(priority=Priority.BATCH), dispatched=True)
    assert raised.value.code == "too_many_waiting"


async def test_who_only_wishes_to_be_batch_work_waits_like_anybody(gate: Gate) -> None:
    member = a_member(waiting=2)
    await gate.enter(member, asking())
    await gate.enter(member, asking(priority=Priority.BATCH))
    for priority in Priority:
        assert (await refused(gate, member, asking(priority=priority))).code == "too_many_waiting"


@pytest.mark.parametrize(("most", "batch"), [(1, 1), (2, 1), (5, 2), (30, 15)])
async def test_batch_work_leaves_its_member_half_of_the_requests(
    gate: Gate, redis: Redis, most: int, batch: int
) -> None:
    member = a_member(requests_per_minute=most)
    for _ in range(batch):
        await gate.enter(member, asking(priority=Priority.BATCH), dispatched=True)
    with pytest.raises(LimitReached) as raised:
        await gate.enter(member, asking(priority=Priority.BATCH), dispatched=True)
    assert raised.value.code == "requests_per_minute"
    for _ in range(most - batch):
        await gate.enter(member, asking(priority=Priority.BATCH))
    await refused(gate, member, asking())
    assert (await Windows(redis).level(REQUESTS_PER_MINUTE, "leo")).used == most


async def test_batch_work_waits_while_its_member_asks(gate: Gate, redis: Redis) -> None:
    member = a_member(requests_per_minute=4)
    for _ in range(2):
        await gate.enter(member, asking())
    with pytest.raises(LimitReached) as raised:
        await gate.enter(member, asking(), dispatched=True)
    assert raised.value.retry_after_s is not None
    await pass_time(redis, raised.value.retry_after_s)
    await gate.enter(member, asking(), dispatched=True)


async def test_who_has_too_many_waiting_hears_how_long_one_takes(gate: Gate, redis: Redis) -> None:
    member = a_member(waiting=1)
    await gate.enter(member, asking())
    await redis.hset(keys.pace("chat"), mapping={"busy_s": 30.0, "cost": 1000.0})
    assert (await refused(gate, member, asking(cost=900.0))).retry_after_s == pytest.approx(27)


@pytest.mark.parametrize("limits", [{"requests_per_minute": 10}, {"tokens_per_minute": 100}, {"waiting": 10}])
async def test_from_two_fronts_at_once_exactly_the_limit_enter(
    gate: Gate, other_gate: Gate, redis: Redis, limits: dict[str, int]
) -> None:
    jobs = [asking(tokens=10) for _ in range(20)]
    inside = await entered([gate, other_gate], a_member(**limits), jobs)
    assert len(inside) == 10
    assert await under_way(redis) == {job.id for job in inside}


async def test_a_front_and_a_worker_at_once_never_let_more_in_than_fits(
    gate: Gate, other_gate: Gate, redis: Redis
) -> None:
    """Each job takes just what was held back, and is charged while others knock."""
    member, inside = a_member(tokens_per_day=200), []

    async def one_after_the_other(front: Gate) -> None:
        for _ in range(15):
            job = asking(tokens=10)
            if await entered([front], member, [job]):
                inside.append(job)
                await end(redis, job, 10)

    await asyncio.gather(*(one_after_the_other(front) for front in (gate, other_gate) for _ in range(3)))
    assert len(inside) <= 20
    await one_after_the_other(gate)  # for those of the others that were in each other's way
    assert len(inside) == 20


async def test_a_refusal_takes_nothing(gate: Gate, redis: Redis) -> None:
    await Windows(redis).charge("leo", 10)
    member = a_member(requests_per_minute=5, tokens_per_day=10)
    for _ in range(9):
        assert (await refused(gate, member, asking(tokens=1))).code == "tokens_per_day"
    assert await under_way(redis) == set()
    assert await used(redis, requests=0, tokens=10)


async def test_cancelling_gives_no_request_back(gate: Gate, redis: Redis) -> None:
    member = a_member(requests_per_minute=3)
    for _ in range(3):
        job = asking()
        await gate.enter(member, job)
        await gate.leave("leo", job.id)
    assert (await refused(gate, member, asking())).code == "requests_per_minute"


async def test_cancelling_gives_tokens_back_only_when_they_are_charged(gate: Gate, redis: Redis) -> None:
    """A running job that is cancelled holds what it held, until its worker has counted what it took."""
    member, job = a_member(tokens_per_day=100), asking(tokens=100)
    await gate.enter(member, job)
    await redis.hset(keys.job(job.id), mapping={"state": "cancelled", "ended_at_s": job.created_at_s})
    assert (await refused(gate, member, asking(tokens=1))).code == "tokens_per_day"
    await end(redis, job, 100)
    assert (await refused(gate, member, asking(tokens=1))).code == "tokens_per_day"


async def test_what_a_dead_front_held_back_is_nobodys(gate: Gate, redis: Redis) -> None:
    await redis.hset(keys.in_flight("leo"), "job-dead", "w 1 100 1000000000.0")
    await gate.enter(a_member(tokens_per_minute=100), asking(tokens=100))


async def test_what_somebody_waits_for_is_held_back_however_long(gate: Gate, redis: Redis) -> None:
    await redis.hset(keys.in_flight("leo"), "job-old", "w 1 100 1000000000.0")
    await redis.hset(keys.job("job-old"), "state", "queued")
    await refused(gate, a_member(tokens_per_minute=100), asking(tokens=1))


async def test_each_member_has_limits_of_their_own(gate: Gate) -> None:
    for name in ("leo", "mia"):
        member = a_member(name, requests_per_minute=1, waiting=1)
        await gate.enter(member, a_job(member=name))
        await refused(gate, member, a_job(member=name))


async def test_a_changed_limit_holds_for_the_next_request(gate: Gate) -> None:
    await gate.enter(a_member(requests_per_minute=1), asking())
    await refused(gate, a_member(requests_per_minute=1), asking())
    await gate.enter(a_member(requests_per_minute=2), asking())


async def test_a_client_that_leaves_on_the_way_in_leaves_nothing(
    gate: Gate, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def never(*_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Windows, "level", never)
    entering = asyncio.create_task(gate.enter(a_member(tokens_per_day=10), asking(tokens=1)))
    await asyncio.wait_for(reached.wait(), 10)
    assert len(await under_way(redis)) == 1
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert await under_way(redis) == set()


async def test_a_broker_that_is_gone_raises_what_it_always_raises() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0", timeout_s=1)
    with pytest.raises(BROKER_ERRORS):
        await Gate(client, Profile.model_validate(PROFILE)).enter(a_member(), asking())
    await client.aclose()


@pytest.mark.parametrize(
    ("limits", "width", "most"),
    [
        ({}, 8, 8),
        ({"running": 2}, 2, 2),
        ({"running": 2}, 3, 2),
        ({"requests_per_minute": 4}, 5, 4),
        ({"requests_per_minute": 4, "running": 2}, 4, 2),
        ({"requests_per_minute": 1, "running": 2}, 2, 1),
        ({"waiting": 1}, 8, 8),
    ],
)
def test_nobody_asks_for_more_at_once_than_they_may_ever_have(limits: dict[str, int], width: int, most: int) -> None:
    allowance, body = Allowance(**limits), {"n": width}
    if width <= most:
        check_width(allowance, width, body, Task.GENERATE)
        return
    with pytest.raises(BadRequest) as raised:
        check_width(allowance, width, body, Task.GENERATE)
    assert (raised.value.status, raised.value.code, raised.value.param) == (400, "too_wide", "n")
    assert raised.value.message == f"This counts as {width} questions at once, and you may ask {most}. Split it."


@pytest.mark.parametrize(
    ("body", "task", "param"),
    [
        ({"best_of": 3}, Task.GENERATE, "best_of"),
        ({"prompt": ["a"] * 3}, Task.GENERATE, "prompt"),
        ({"input": ["a"] * 65}, Task.EMBED, "input"),
    ],
)
def test_what_makes_it_wide_is_named(body: dict[str, Any], task: Task, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        check_width(Allowance(running=2), 3, body, task)
    assert raised.value.param == param


@pytest.mark.parametrize("clock", ["07:00", "07:00:00.000001", "20:29:59.999999"])
def test_their_hours_begin_and_end_to_the_moment(clock: str) -> None:
    check_hours(Allowance(hours="07:00-20:30"), at(clock))


@pytest.mark.parametrize(
    ("clock", "words", "seconds"),
    [
        ("06:59", "at 07:00", 60),
        ("20:30", "tomorrow at 07:00", 10.5 * 3600),
        ("23:59", "tomorrow at 07:00", 7 * 3600 + 60),
        ("00:00", "at 07:00", 7 * 3600),
    ],
)
def test_outside_their_hours_it_says_when_they_can_ask_again(clock: str, words: str, seconds: float) -> None:
    with pytest.raises(Forbidden) as raised:
        check_hours(Allowance(hours="07:00-20:30"), at(clock))
    assert raised.value.code == "outside_hours"
    assert raised.value.message == f"It is not your time now. You can ask again {words}."
    assert raised.value.retry_after_s == seconds


def test_of_several_spans_the_next_counts() -> None:
    assert opens_at("07:00-08:00, 16:00-18:00", at("09:00")) == at("16:00")
    assert opens_at("07:00-08:00, 16:00-18:00", at("18:00")) == at("07:00", day=5)
    assert opens_at("22:00-06:00", at("12:00")) == at("22:00")


@given(st.lists(st.tuples(CLOCK, CLOCK).filter(lambda span: span[0] != span[1]), min_size=1, max_size=3), st.times())
def test_when_it_opens_they_may_ask(spans: list[tuple[str, str]], time: Any) -> None:
    hours = ",".join(f"{first}-{last}" for first, last in spans)
    now = datetime.combine(datetime(2026, 3, 4).astimezone().date(), time).astimezone()
    opening = opens_at(hours, now)
    assert opening > now
    assert may_ask_at(hours, opening.time())
