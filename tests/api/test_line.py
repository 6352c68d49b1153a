"""How a front looks at its lines: seldom, once for all, and so that what it forecasts is what then happens."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

import api.line
from api.line import FORECASTS_SHARE, FRESH_S, LONG, Lines, Places
from familyai import keys
from familyai.catalogue import Fairness, Model, Profile
from familyai.errors import LimitReached, Unavailable
from familyai.fair import Ticket
from familyai.job import Job
from familyai.jobs import Delivery, JobStore
from familyai.lanes import Lane, Priority
from familyai.line import Line, Place, Running, forecast
from familyai.registry import WorkerRegistry
from familyai.service import ServiceStore
from tests.support import a_job

PROFILE = Profile.model_validate(
    {
        "memory_budget_gb": 1,
        "queues": {
            "q": {"model": "org/q", "engine": "echo", "memory_gb": 0.1, "slots": 2},
            "other": {"model": "org/o", "engine": "echo", "memory_gb": 0.1, "slots": 2},
        },
    }
)


def ticket(number: int, lane: str = "q.00", cost: float = 1) -> Ticket:
    return Ticket(f"job-{number}", lane, "ada", 1, cost, 1, float(number))


def running(number: int, worker: str = "w") -> Running:
    return Running(f"running-{number}", "q.00", "ada", 1, 10, 1, 0, 0, worker, 0)


class Broker:
    """What the broker would say of a line with these; counts how often it is asked, and answers when it may."""

    def __init__(self, *waiting: Ticket, runs: tuple[Running, ...] = (), pace: float | None = 1.0) -> None:
        self.waiting, self.runs, self.pace = waiting, runs, pace
        self.asked = 0
        self.failing = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.workers = {"w"}

    async def line(self, queue: str, model: Model, fairness: Fairness, workers: int) -> Line:
        self.asked += 1
        await self.may_answer.wait()
        if self.failing:
            raise RedisConnectionError
        slots, reserve = model.slots, model.reserve_slots
        return Line(self.waiting, self.runs, {}, self.pace, workers, slots, reserve, fairness)

    async def alive(self, queues: list[str]) -> dict[str, set[str]]:
        return dict.fromkeys(queues, self.workers)


def lines_of(broker: Broker, clock: Callable[[], float] = time.monotonic) -> Lines:
    return Lines(cast(ServiceStore, broker), cast(WorkerRegistry, broker), PROFILE, clock)


class Clock:
    """By which views age."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_all_who_ask_at_once_are_one_question() -> None:
    broker = Broker(*(ticket(number) for number in range(20)))
    broker.may_answer.clear()
    lines = lines_of(broker)
    asking = [asyncio.create_task(lines.place(f"job-{number}", "q")) for number in range(20)]
    await asyncio.sleep(0)
    broker.may_answer.set()

    places = await asyncio.gather(*asking)

    assert [place.position for place in places if place] == list(range(1, 21))
    assert broker.asked == 1


async def test_nobody_asks_for_what_was_just_seen() -> None:
    broker, clock = Broker(ticket(1)), Clock()
    lines = lines_of(broker, clock)
    for _ in range(3):
        await lines.seen("q")
    clock.now_s += FRESH_S
    assert await lines.place("job-1", "q") == Place(1, 0.0)
    assert broker.asked == 2
    await lines.seen("other")
    assert broker.asked == 3, "each line is looked at by itself"


async def test_who_leaves_takes_the_view_from_nobody() -> None:
    broker = Broker(ticket(1))
    broker.may_answer.clear()
    lines = lines_of(broker)
    first, second = (asyncio.create_task(lines.place("job-1", "q")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    broker.may_answer.set()

    assert await second == Place(1, 0.0)
    assert broker.asked == 1


async def test_a_broker_that_is_down_is_said_to_all_and_asked_again() -> None:
    broker = Broker(ticket(1))
    broker.failing = True
    lines = lines_of(broker)
    answers = await asyncio.gather(*(lines.place("job-1", "q") for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert broker.asked == 1

    broker.failing = False
    assert await lines.place("job-1", "q") == Place(1, 0.0)


async def test_a_job_that_does_not_wait_has_no_place() -> None:
    lines = lines_of(Broker(ticket(1), runs=(running(1),)))
    assert await lines.place("running-1", "q") is None
    assert await lines.place("job-9", "q") is None
    assert await lines.place("job-1", "a queue of another catalogue") is None


async def test_what_dead_workers_left_behind_keeps_nobody_waiting() -> None:
    lines = lines_of(Broker(ticket(1), runs=(running(1), running(2), running(3, worker="dead"))))
    line, _ = await lines.seen("q")
    assert [job.job_id for job in line.running] == ["running-1", "running-2"]
    assert line.workers == 1


async def test_a_long_line_is_forecast_beside_the_loop_and_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def slow_forecast(line: Line) -> tuple[Places, float]:
        threads.append(threading.current_thread())
        return forecast(line, 0.0), 0.1

    monkeypatch.setattr(api.line, "timed_forecast", slow_forecast)
    broker, clock = Broker(*(ticket(number) for number in range(LONG + 1))), Clock()
    lines = lines_of(broker, clock)
    places = await asyncio.gather(*(lines.place(f"job-{number}", "q") for number in range(5)))

    assert [place.position for place in places if place] == [1, 2, 3, 4, 5]
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    clock.now_s += 0.1 / FORECASTS_SHARE - 0.1
    await lines.seen("q")
    assert (broker.asked, len(threads)) == (1, 1)
    clock.now_s += 0.2
    await lines.seen("q")
    assert (broker.asked, len(threads)) == (2, 2)
    broker.waiting = broker.waiting[:1]
    clock.now_s += 2
    await lines.seen("q")
    clock.now_s += FRESH_S
    await lines.seen("q")
    assert (broker.asked, len(threads)) == (4, 2), "a short line is looked at as often as before"


# --- whether one more gets its turn in time ---


def job(number: int = 99, deadline_s: float = 5.0, **other: Any) -> Job:
    return a_job(id=f"job-{number}", queue="q", deadline_s=deadline_s, created_at_s=1e9, **other)


async def test_whose_turn_comes_in_time_is_let_in() -> None:
    await lines_of(Broker()).let_in(job(deadline_s=0.001))
    await lines_of(Broker(*(ticket(number, cost=10) for number in range(3)))).let_in(job(deadline_s=100))


async def test_no_forecast_is_made_where_the_bound_says_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_forecast(*_: object) -> None:
        raise AssertionError("a forecast was made")

    monkeypatch.setattr(api.line, "forecast", no_forecast)
    await lines_of(Broker(*(ticket(number) for number in range(50)))).let_in(job(deadline_s=26))


async def test_whose_turn_comes_too_late_is_told_when_to_ask_again() -> None:
    broker = Broker(*(ticket(number, cost=10) for number in range(40)))  # two at a time in one lane
    with pytest.raises(LimitReached) as refused:
        await lines_of(broker).let_in(job(deadline_s=60))

    assert refused.value.code == "deadline"
    assert refused.value.retry_after_s == 140
    assert refused.value.message == (
        "The line is long: your turn would come in about 4 minutes, and this question waits 60 seconds at most. "
        "Try again in 3 minutes."
    )


async def test_again_is_never_now() -> None:
    broker = Broker(*(ticket(number, cost=5.2) for number in range(2)), pace=1)
    with pytest.raises(LimitReached) as refused:
        await lines_of(broker).let_in(job(deadline_s=5.1))
    assert refused.value.retry_after_s == 1


async def test_who_got_less_is_let_in_though_the_line_is_long() -> None:
    lines = lines_of(Broker(*(ticket(number, cost=10) for number in range(40))))
    with pytest.raises(LimitReached):
        await lines.let_in(job(deadline_s=60))
    await lines.let_in(job(deadline_s=60, lane_number=1))


@pytest.mark.parametrize(("pace", "workers"), [(None, {"w"}), (1.0, set())])
async def test_who_cannot_be_told_is_let_in(pace: float | None, workers: set[str]) -> None:
    broker = Broker(*(ticket(number, cost=1000) for number in range(40)), pace=pace)
    broker.workers = workers
    await lines_of(broker).let_in(job())


async def test_those_who_come_at_once_count_one_another() -> None:
    just_begun = (msgspec.structs.replace(running(number), started_at_s=1e12) for number in range(3))
    broker = Broker(runs=tuple(just_begun))
    lines = lines_of(broker)

    answers = await asyncio.gather(
        *(lines.let_in(job(number, deadline_s=25, cost=10)) for number in range(20)), return_exceptions=True
    )

    refused = [answer for answer in answers if isinstance(answer, LimitReached)]
    assert len(answers) - len(refused) == 4, "two at a time of one lane, 10 s each: after 10 s and after 20 s"
    assert broker.asked == 1


async def test_a_full_line_says_how_fast_it_moves() -> None:
    broker = Broker(*(ticket(number, cost=30) for number in range(4)))
    full = await lines_of(broker).full("q")
    assert (full.code, full.retry_after_s) == ("line_too_long", 15)
    assert full.message == "Too many people are waiting for this model. Try again in 15 seconds."

    broker.pace = None
    assert (await lines_of(broker).full("q")).retry_after_s == 60


# --- against the broker's own scripts ---


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_before_is_where_it_then_stands(redis: Redis, number: int) -> None:
    """The enqueue script lifts a lane that comes back; so does the forecast."""
    jobs, registry = JobStore(redis, record_ttl_s=60), WorkerRegistry(redis)
    await registry.beat("q", "w")
    await redis.hset(keys.pace("q"), mapping={"busy_s": 10, "cost": 10})
    await redis.zadd(keys.service("q"), {"q.00": 900, "q.01": 905, "q.02": 2, "q.01.batch": 1})
    for lane in (0, 1, 0, 1):
        await jobs.enqueue(a_job(queue="q", lane_number=lane, cost=7))
    await jobs.enqueue(a_job(queue="q", lane_number=1, cost=7, priority=Priority.BATCH))
    newcomer = a_job(queue="q", lane_number=number, cost=3)

    expected = await Lines(ServiceStore(redis), registry, PROFILE).before(newcomer)
    await jobs.enqueue(newcomer)

    assert await Lines(ServiceStore(redis), registry, PROFILE).place(newcomer.id, "q") == expected


async def test_a_claimed_job_has_no_place_any_more(redis: Redis) -> None:
    jobs, registry = JobStore(redis, record_ttl_s=60), WorkerRegistry(redis)
    await registry.beat("q", "w")
    first, second = a_job(queue="q"), a_job(queue="q")
    for one in (first, second):
        await jobs.enqueue(one)
    await jobs.claim(Delivery(first.id, Lane("q", 0, Priority.INTERACTIVE).name, "ada"), "q", "w")

    lines = Lines(ServiceStore(redis), registry, PROFILE)
    assert await lines.place(first.id, "q") is None
    assert await lines.place(second.id, "q") == Place(1, None)
