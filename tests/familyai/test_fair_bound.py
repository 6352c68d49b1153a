"""The bound of the fair order, and what else holds whatever members ask."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familyai.fair import lift
from tests.familyai.household import (
    BULK,
    SIDE,
    A,
    B,
    Habits,
    Household,
    Job,
    _by_lane,
    _caps_hold,
    _of_number,
    bound,
    fair,
    habits,
    mixed,
    mixed_lanes,
)


@given(ada=habits, ben=habits, slots=st.integers(1, 6), random=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_two_lanes_that_wait_never_differ_by_more_than_the_bound(
    ada: Habits, ben: Habits, slots: int, random: Random
) -> None:
    queues, weights = {A: ada.jobs(random, 80), B: ben.jobs(random, 80)}, {A: ada.weight, B: ben.weight}
    household = Household([fair(slots, 0)], queues, weights)
    most = bound(slots, queues[A] + queues[B], weights)
    for _ in household.play():
        assert abs(household.service(A) - household.service(B)) <= most + 1e-6
        if not (household.queues[A] and household.queues[B]):
            return


@given(
    ada=habits,
    ben=habits,
    slots=st.integers(1, 3),
    workers=st.integers(2, 4),
    period_s=st.integers(1, 60),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_workers_that_exchange_counters_differ_by_what_each_further_one_did_not_tell(
    ada: Habits, ben: Habits, slots: int, workers: int, period_s: int, random: Random
) -> None:
    queues, weights = {A: ada.jobs(random, 120), B: ben.jobs(random, 120)}, {A: ada.weight, B: ben.weight}
    household = Household([fair(slots, 0) for _ in range(workers)], queues, weights)
    most, untold, exchanged_at_s = bound(workers * slots, queues[A] + queues[B], weights), 0.0, 0
    for _ in household.play():
        differences = [abs(household.untold(worker, A) - household.untold(worker, B)) for worker in range(workers)]
        untold = max(untold, *differences)
        assert abs(household.service(A) - household.service(B)) <= most + (workers - 1) * untold + 1e-6
        if household.now_s >= exchanged_at_s + period_s:
            household.exchange()
            exchanged_at_s = household.now_s
        if not (household.queues[A] and household.queues[B]):
            return


@given(ada=habits, ben=habits, slots=st.integers(1, 4), random=st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_idling_gains_nothing(ada: Habits, ben: Habits, slots: int, random: Random) -> None:
    """Ben comes and goes, Ada always waits: from the moment he is back he never gets more than twice the bound more.

    Once the bound for what he may be behind when he is lifted (what was charged for his running jobs and not yet
    delivered), once for what he may be ahead by in the end.
    """
    jobs, weights = {A: ada.jobs(random, 150), B: ben.jobs(random, 100)}, {A: ada.weight, B: ben.weight}
    order = fair(slots, 0)
    household = Household([order], {A: jobs[A], B: []}, weights)
    most, least_ahead = 2 * bound(slots, jobs[A] + jobs[B], weights), None
    for _ in household.play():
        if not household.queues[B] and random.random() < 0.1:
            order.counters[B] = lift(order.counters.get(B, 0.0), [order.counters.get(A, 0.0)], last=0.0)
            household.queues[B].extend(jobs[B][: random.randint(1, 20)])
        ahead = household.service(B) - household.service(A)
        if household.queues[B]:
            least_ahead = ahead if least_ahead is None else min(least_ahead, ahead)
        assert least_ahead is None or ahead - least_ahead <= most + 1e-6
        if not household.queues[A]:
            return


@given(mixed, st.integers(1, 5), st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_every_job_is_served_and_no_place_idles_while_one_may_start(
    arrived: list[tuple[str, Job]], slots: int, reserve_slots: int
) -> None:
    order = fair(slots, reserve_slots, background=0.1, batch=0.05)
    household = Household([order], _by_lane(arrived), dict.fromkeys(mixed_lanes, 1.0))
    for _ in household.play():
        _caps_hold(order, slots, reserve_slots)
        heads = {lane: min(waiting[0].width, slots) for lane, waiting in household.queues.items() if waiting}
        if not household.next_lane(0) and any(order.fits(lane, width) for lane, width in heads.items()):
            assert any(
                width > 1 and not order.fits(lane, width) and _of_number(order, lane) + width <= slots
                for lane, width in heads.items()
            ), "no wide job is waited for, and a job that fits does not start"
    assert household.starts == len(arrived)
    assert order.running == {}


@given(mixed, st.integers(1, 5), st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_among_narrow_jobs_no_place_idles_at_all(
    arrived: list[tuple[str, Job]], slots: int, reserve_slots: int
) -> None:
    order = fair(slots, reserve_slots, background=0.1, batch=0.05)
    narrow = [(lane, job._replace(width=1)) for lane, job in arrived]
    household = Household([order], _by_lane(narrow), dict.fromkeys(mixed_lanes, 1.0))
    for _ in household.play():
        if not household.next_lane(0):
            assert not any(order.fits(lane, 1) for lane, waiting in household.queues.items() if waiting)


@given(mixed, st.sampled_from(mixed_lanes), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2))
def test_a_lane_alone_is_offered_exactly_when_its_job_fits(
    arrived: list[tuple[str, Job]], lane: str, width: int, slots: int, reserve_slots: int
) -> None:
    order = fair(slots, reserve_slots)
    for other, job in arrived:
        if order.fits(other, job.width):
            order.start(other, job.cost, 1.0, job.width)
    order.needs(lane, width)
    assert (order.order([lane]) == [lane]) == order.fits(lane, width)


def test_a_wide_job_starts_though_narrow_ones_never_end_coming() -> None:
    queues = {A: [Job(1, 5 + number % 3, 5) for number in range(300)], B: [Job(1, 5, 5, width=4)]}
    household = Household([fair(4, 0)], queues, {A: 1.0, B: 1.0})
    for _ in household.play():
        if not household.queues[B]:
            break
    assert household.starts <= 8


# Shares


@given(
    order=st.sampled_from([(0.1, 0.05), (0.3, 0.4), (0.0, 0.2), (0.4, 0.0), (0.05, 0.05)]),
    slots=st.integers(1, 6),
    sizes=st.tuples(*[st.integers(1, 200)] * 3),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_background_and_batch_get_their_share_of_a_busy_model_within_two_jobs(
    order: tuple[float, float], slots: int, sizes: tuple[int, int, int], random: Random
) -> None:
    """As charged, all three waiting: never more than two jobs below the share, never more than one above it."""
    waiting = [A, SIDE, BULK]
    shares = dict(zip(waiting[1:], order, strict=True))
    answers = {lane: [random.randint(1, size) for _ in range(300)] for lane, size in zip(waiting, sizes, strict=True)}
    queues = {lane: [Job(1, answer, answer) for answer in answers[lane]] for lane in waiting}
    largest = max(job.cost for lane in waiting for job in queues[lane])
    served = fair(slots, 0, background=order[0], batch=order[1])
    household = Household([served], queues, dict.fromkeys(waiting, 1.0))
    for _ in household.play():
        everything = sum(served.counters.values())
        for lane, share in shares.items():
            assert (
                -largest - 1e-6 <= share * everything - served.counters.get(lane, 0.0) <= 2 * largest + 1e-6
                or not share
            )
            assert share or lane not in served.counters
        if not all(household.queues.values()):
            return


def test_shares_hold_in_the_long_run_with_estimates_that_are_wrong() -> None:
    random = Random(7)  # noqa: S311
    lanes_of = {lane: Habits(50, 100, "random", 1.0).jobs(random, 4000) for lane in (A, SIDE, BULK)}
    household = Household([fair(4, 1, background=0.2, batch=0.1)], lanes_of, dict.fromkeys(lanes_of, 1.0))
    for _ in household.play():
        if not all(household.queues.values()):
            break
    everything = sum(household.service(lane) for lane in lanes_of)
    assert household.service(SIDE) / everything == pytest.approx(0.2, abs=0.02)
    assert household.service(BULK) / everything == pytest.approx(0.1, abs=0.02)
