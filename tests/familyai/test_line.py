import math
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familyai.catalogue import Fairness
from familyai.fair import FairOrder, Ticket
from familyai.lanes import lanes
from familyai.line import OVERDUE, Line, Place, Running, drain_s, forecast

A, B, C, BULK = "chat.00", "chat.01", "chat.02", "chat.03.batch"
NOW_S = 1000.0


def ticket(
    job_id: str, lane: str, cost: float = 10, width: int = 1, created_at_s: float = 0, weight: float = 1
) -> Ticket:
    return Ticket(job_id, lane, "ada", width, cost, weight, created_at_s)


def running(lane: str, cost: float, started_at_s: float, width: int = 1) -> Running:
    return Running(f"runs-{lane}-{started_at_s}", lane, "ada", width, cost, 1, 0, 0, "worker", started_at_s)


def line(*waiting: Ticket, runs: tuple[Running, ...] = (), **changed: object) -> Line:
    """One worker, one place, one second per unit of cost."""
    plain = Line(waiting, runs, {}, 1.0, 1, slots=1, reserve_slots=0, fairness=Fairness())
    return msgspec.structs.replace(plain, **changed)


def test_running_travels_as_a_ticket_and_two_more() -> None:
    job = running(A, cost=5, started_at_s=7)
    assert msgspec.to_builtins(job)[:7] == ["runs-chat.00-7", A, "ada", 1, 5, 1, 0]
    assert msgspec.to_builtins(job)[7:] == [0, "worker", 7]


def test_nobody_waits() -> None:
    assert forecast(line(runs=(running(A, 10, NOW_S),)), NOW_S) == {}


def test_an_idle_worker_starts_the_first_at_once_and_the_next_when_it_has_ended() -> None:
    places = forecast(line(ticket("a1", A, cost=30), ticket("b1", B, cost=10)), NOW_S)
    assert places == {"a1": Place(1, 0.0), "b1": Place(2, 30.0)}


def test_within_a_lane_the_oldest_is_first_between_lanes_the_least_served() -> None:
    waiting = [
        ticket(name, name[0].replace("a", A).replace("b", B), created_at_s=at_s)
        for name, at_s in [("a3", 3), ("a1", 1), ("a2", 2), ("b9", 9)]
    ]
    places = forecast(line(*waiting, counters={A: 0, B: 15}), NOW_S)
    assert list(places) == ["a1", "a2", "b9", "a3"]
    assert [place.position for place in places.values()] == [1, 2, 3, 4]
    assert [place.eta_s for place in places.values()] == [0, 10, 20, 30]


def test_weight_counts() -> None:
    waiting = [
        ticket(f"{lane}{n}", lane, weight=weight, created_at_s=n) for lane, weight in ((A, 2), (B, 1)) for n in range(4)
    ]
    first_six = list(forecast(line(*waiting), NOW_S))[:6]
    assert sum(job.startswith(A) for job in first_six) == 4


def test_a_forecast_changes_nothing_it_was_given() -> None:
    counters = {A: 5.0}
    forecast(line(ticket("a1", A), counters=counters), NOW_S)
    assert counters == {A: 5.0}


def test_batch_is_last() -> None:
    waiting = [ticket("bulk", BULK), *(ticket(f"a{n}", A, created_at_s=n) for n in range(2))]
    no_share = line(*waiting, fairness=Fairness(batch_share=0))
    assert list(forecast(no_share, NOW_S)) == ["a0", "a1", "bulk"]


def test_batch_gets_its_share() -> None:
    waiting = [ticket("bulk", BULK), *(ticket(f"a{n}", A, created_at_s=n) for n in range(5))]
    shared = line(*waiting, fairness=Fairness(batch_share=0.3))
    assert list(forecast(shared, NOW_S)) == ["a0", "a1", "a2", "a3", "bulk", "a4"]


def test_running_jobs_take_what_is_left_of_them() -> None:
    runs = (running(A, cost=30, started_at_s=NOW_S - 10),)
    assert forecast(line(ticket("b1", B), runs=runs), NOW_S) == {"b1": Place(1, 20.0)}


def test_an_overdue_job_is_not_expected_to_end_this_moment() -> None:
    runs = (running(A, cost=10, started_at_s=NOW_S - 100),)
    assert forecast(line(ticket("b1", B), runs=runs), NOW_S) == {"b1": Place(1, 100 * OVERDUE)}


def test_a_job_that_started_in_our_future_by_another_clock_takes_no_longer_than_expected() -> None:
    runs = (running(A, cost=10, started_at_s=NOW_S + 5),)
    assert forecast(line(ticket("b1", B), runs=runs), NOW_S) == {"b1": Place(1, 10.0)}


@pytest.mark.parametrize("changed", [{"seconds_per_cost": None}, {"workers": 0}])
def test_no_time_without_a_measured_pace_or_a_worker_but_a_position(changed: dict[str, int | None]) -> None:
    unknown = line(ticket("b1", B), ticket("a1", A), **changed)
    assert forecast(unknown, NOW_S) == {"a1": Place(1, None), "b1": Place(2, None)}
    assert drain_s(unknown, NOW_S) is None


def test_the_pace_is_seconds_per_unit_of_cost() -> None:
    waiting = [ticket("a1", A, cost=30), ticket("b1", B)]
    assert forecast(line(*waiting, seconds_per_cost=0.1), NOW_S)["b1"].eta_s == pytest.approx(3)


def test_workers_add_up() -> None:
    waiting = [ticket(f"a{n}", A, created_at_s=n) for n in range(4)]
    both = forecast(line(*waiting, workers=2), NOW_S)
    assert [place.eta_s for place in both.values()] == [0, 0, 10, 10]


def test_the_reserve_is_for_others() -> None:
    waiting = [ticket(f"a{n}", A, created_at_s=n) for n in range(2)] + [ticket("b1", B, created_at_s=9)]
    places = forecast(line(*waiting, reserve_slots=1), NOW_S)
    assert {job: place.eta_s for job, place in places.items()} == {"a0": 0, "b1": 0, "a1": 10}


def test_a_wide_job_waits_for_its_width_and_nobody_overtakes_it() -> None:
    runs = (running(C, cost=8, started_at_s=NOW_S),)
    waiting = [ticket("wide", A, width=2), ticket("narrow", B, created_at_s=1)]
    places = forecast(line(*waiting, runs=runs, slots=2), NOW_S)
    assert places == {"wide": Place(1, 8.0), "narrow": Place(2, 13.0)}  # its answers are made side by side


def test_a_job_wider_than_a_worker_takes_one_worker() -> None:
    waiting = [ticket("wide", A, width=9), ticket("narrow", B, created_at_s=1)]
    assert forecast(line(*waiting, slots=2, workers=2), NOW_S)["narrow"].eta_s == 0


def test_who_has_as_many_running_as_may_waits_for_one_of_them() -> None:
    runs = (running(A, cost=10, started_at_s=NOW_S), running(A, cost=20, started_at_s=NOW_S))
    limited = [ticket(f"a{n}", A, created_at_s=n, cost=5) for n in range(3)]
    waiting = [msgspec.structs.replace(job, most_running=2) for job in limited]
    places = forecast(line(*waiting, ticket("b", B, created_at_s=9), runs=runs, slots=8), NOW_S)
    assert [(job, place.eta_s) for job, place in places.items()] == [("b", 0), ("a0", 10), ("a1", 15), ("a2", 20)]


def test_draining_is_all_work_over_the_places() -> None:
    waiting = [ticket("a1", A, cost=30), ticket("b1", B, cost=6, width=2)]
    runs = (running(C, cost=8, started_at_s=NOW_S - 4),)
    assert drain_s(line(*waiting, runs=runs, slots=4), NOW_S) == (30 + 6 + 4) / 3
    assert drain_s(line(*waiting, runs=runs, slots=4), NOW_S, width=9) == 30 + 6 + 4
    assert drain_s(line(), NOW_S) == 0


# Held to what a worker does

all_lanes = [lane.name for lane in lanes("chat", 4)]
# Whole and half numbers, so that sums are exact and what ends at one moment is seen to.
tickets = st.lists(
    st.builds(
        Ticket,
        job_id=st.uuids().map(str),
        lane=st.sampled_from(all_lanes),
        member=st.just("ada"),
        width=st.sampled_from([1, 1, 1, 2, 4, 8]),
        cost=st.integers(1, 40).map(float),
        weight=st.sampled_from([0.5, 1.0, 2.0]),
        created_at_s=st.integers(0, 50).map(float),
    ),
    max_size=40,
)
runs = st.lists(
    st.builds(
        running,
        lane=st.sampled_from(all_lanes),
        cost=st.integers(1, 40).map(float),
        started_at_s=st.integers(900, 1000).map(float),
        width=st.sampled_from([1, 1, 2, 8]),
    ),
    max_size=6,
)
lines = st.builds(
    Line,
    waiting=tickets.map(tuple),
    running=runs.map(tuple),
    counters=st.dictionaries(st.sampled_from(all_lanes), st.integers(0, 60).map(float)),
    seconds_per_cost=st.sampled_from([0.5, 1.0, 2.0]),
    workers=st.integers(1, 2),
    slots=st.integers(1, 4),
    reserve_slots=st.integers(0, 2),
    fairness=st.sampled_from(
        [Fairness(), Fairness(background_share=0, batch_share=0), Fairness(background_share=0.25, batch_share=0.375)]
    ),
)


@dataclass
class Worker:
    """One that asks `order` before each job, learns a job's width when it has it in hand, and puts it back."""

    line: Line
    started: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        of = self.line
        self.order = FairOrder(of.workers * of.slots, of.workers * of.reserve_slots, of.fairness)
        self.order.counters = dict(of.counters)
        self.now_s, self.ends = 0.0, []
        for job in sorted(of.running, key=lambda job: job.started_at_s):
            elapsed_s = NOW_S - job.started_at_s
            rest_s = max(job.cost * of.seconds_per_cost / job.width - elapsed_s, elapsed_s * OVERDUE)
            self.take(job, 0.0, rest_s)
        self.queues = {
            lane: sorted((job for job in of.waiting if job.lane == lane), key=lambda job: job.created_at_s)
            for lane in all_lanes
        }

    def play(self) -> dict[str, float]:
        self.fill()
        while any(self.queues.values()):
            ended = min(self.ends, key=lambda end: end[0])
            self.ends.remove(ended)
            self.now_s = ended[0]
            self.order.end(*ended[1:])
            self.fill()
        return self.started

    def fill(self) -> None:
        put_back = set()
        while lane := next((lane for lane in self.order.order(all_lanes) if self.queues[lane]), None):
            job = self.queues[lane][0]
            width = min(job.width, self.line.slots)
            if not self.order.fits(lane, width):
                assert lane not in put_back, "offered again, though its width is known"
                put_back.add(lane)
                self.order.needs(lane, width)
                continue
            self.started[self.queues[lane].pop(0).job_id] = self.now_s
            self.take(job, job.cost, job.cost * self.line.seconds_per_cost / job.width)

    def take(self, job: Ticket | Running, cost: float, lasts_s: float) -> None:
        width = min(job.width, self.line.slots)
        self.order.start(job.lane, cost, job.weight, width)
        self.ends.append((self.now_s + lasts_s, job.lane, width))


@given(lines)
@settings(max_examples=400, deadline=None)
def test_a_forecast_is_what_a_worker_then_does(of: Line) -> None:
    started = Worker(of).play()
    assert [(job, place.eta_s) for job, place in forecast(of, NOW_S).items()] == list(started.items())


@given(lines, st.sampled_from(all_lanes), st.integers(1, 9))
@settings(max_examples=400, deadline=None)
def test_whoever_comes_last_starts_before_the_line_would_be_drained(of: Line, lane: str, width: int) -> None:
    last = ticket("last", lane, width=width, created_at_s=math.inf)
    joined = msgspec.structs.replace(of, waiting=(*of.waiting, last))
    at_most_s = drain_s(of, NOW_S, width)
    assert at_most_s is not None
    assert forecast(joined, NOW_S)["last"].eta_s <= at_most_s + 1e-6
