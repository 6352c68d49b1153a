"""The fair order: its rules one by one, then the bound of the paper and what else must hold, played through."""

import pytest

from familyai.fair import Ticket, lift
from tests.familyai.household import ALL, BULK, MORE_BULK, SIDE, A, B, C, fair, run


def test_a_ticket_travels_as_an_array_and_knows_its_service() -> None:
    ticket = Ticket("job", A, "ada", width=2, cost=90, weight=3, created_at_s=1.5)
    assert ticket.service == 30


# Who is first


def test_least_service_is_first() -> None:
    order = fair()
    order.counters = {A: 30, B: 10}
    assert order.order([A, B, C]) == [C, B, A]


def test_a_start_is_charged_with_its_cost_over_its_weight() -> None:
    order = fair()
    order.start(A, cost=90, weight=3, width=1)
    order.start(B, cost=20, weight=1, width=1)
    assert order.counters == {A: 30, B: 20}
    assert order.order([A, B]) == [B, A]


def test_the_difference_is_settled_either_way() -> None:
    order = fair()
    order.start(A, cost=90, weight=3, width=1)
    order.charge(A, cost=-60, weight=3)
    order.charge(B, cost=15, weight=1)
    assert order.counters == {A: 10, B: 15}


def test_of_equals_the_one_that_started_least_recently_is_first_then_by_name() -> None:
    order = fair()
    assert order.order([C, B, A]) == [A, B, C]
    for lane in (B, A):
        order.start(lane, cost=0, weight=1, width=1)
    assert order.order([A, B, C]) == [C, B, A]


def test_other_workers_service_counts_when_it_is_heard_of() -> None:
    order = fair()
    order.start(A, cost=10, weight=1, width=1)
    order.counters = {A: 10, B: 50}
    assert order.order([A, B]) == [A, B]


# Priorities


def test_interactive_then_background_then_batch_whatever_they_had() -> None:
    order = fair()
    order.counters = {A: 1000, SIDE: 500}
    assert order.order([BULK, SIDE, A]) == [A, SIDE, BULK]


def test_who_has_earned_a_job_goes_first_the_most_owed_ahead() -> None:
    order = fair(background=0.1, batch=0.2)
    run(order, BULK, cost=20)
    run(order, SIDE, cost=20)
    assert order.order([A, BULK, SIDE]) == [A, SIDE, BULK]
    run(order, A, cost=180)  # batch is owed 20 by now, as much as its last job took
    assert order.order([A, BULK, SIDE]) == [BULK, A, SIDE]
    run(order, A, cost=200)
    assert order.order([A, BULK, SIDE]) == [BULK, SIDE, A]
    run(order, BULK, cost=70)
    assert order.order([A, BULK, SIDE]) == [SIDE, A, BULK]


def test_the_first_job_is_earned_like_the_largest_of_anybody() -> None:
    order = fair(batch=0.2)
    for _ in range(5):
        assert order.order([A, BULK]) == [A, BULK]
        run(order, A, cost=100)
    assert order.order([A, BULK]) == [BULK, A]


def test_owed_is_service_not_service_by_weight() -> None:
    order = fair(batch=0.2)
    run(order, BULK, cost=20)
    run(order, A, cost=180, weight=100)
    assert order.order([A, BULK]) == [BULK, A]


def test_what_was_charged_too_much_is_owed_again() -> None:
    order = fair(batch=0.2)
    run(order, BULK, cost=50)
    run(order, A, cost=250)
    assert order.order([A, BULK]) == [A, BULK]
    order.charge(BULK, cost=-50, weight=1)
    assert order.order([A, BULK]) == [BULK, A]


def test_without_a_share_batch_waits_even_after_it_was_charged_too_much() -> None:
    order = fair()
    for _ in range(3):
        order.start(BULK, cost=100, weight=1, width=1)
    for _ in range(3):
        order.charge(BULK, cost=-90, weight=1)
    assert order.order([A, BULK]) == [A, BULK]


def test_idling_earns_one_job_at_most() -> None:
    order = fair(batch=0.1)
    for _ in range(1000):
        run(order, A, cost=100)
    assert order.order([A, BULK]) == [BULK, A]
    run(order, BULK, cost=70)
    assert order.order([A, BULK]) == [A, BULK]


def test_a_giant_of_long_ago_earns_nobody_more() -> None:
    order = fair(batch=0.05)
    run(order, A, cost=400_000)
    for _ in range(1000):
        run(order, A, cost=300)
    ahead = 0
    while order.order([A, BULK])[0] == BULK:
        run(order, BULK, cost=300)
        ahead += 1
    assert ahead <= 2


def test_an_idle_machine_to_itself_costs_one_job_at_most() -> None:
    order = fair(batch=0.1)
    for _ in range(1000):
        run(order, BULK, cost=100)
    for _ in range(20):
        assert order.order([A, BULK]) == [A, BULK]
        run(order, A, cost=101)
    assert order.order([A, BULK]) == [BULK, A]


# Caps


def test_no_free_place_no_lane() -> None:
    order = fair(slots=2, reserve_slots=0)
    order.start(A, cost=1, weight=1, width=1)
    order.start(B, cost=1, weight=1, width=1)
    assert order.order(ALL) == []
    order.end(A, width=1)
    assert order.order([A, B]) == [A, B]


def test_a_lane_never_holds_the_reserve() -> None:
    order = fair(slots=2, reserve_slots=1)
    order.start(A, cost=1, weight=1, width=1)
    order.start(A, cost=1, weight=1, width=1)
    assert order.order([A, B]) == [B]
    assert not order.fits(A, 1)
    assert order.fits(B, 1)


def test_a_number_is_one_member_in_all_priorities() -> None:
    order = fair(slots=2, reserve_slots=1)
    order.start("chat.00", cost=1, weight=1, width=1)
    order.start("chat.00.batch", cost=1, weight=1, width=1)
    assert order.order(["chat.00", "chat.00.background", "chat.01"]) == ["chat.01"]
    assert not order.fits("chat.00.background", 1)


def test_batch_never_holds_the_reserve_however_many_lanes_it_has() -> None:
    order = fair(slots=2, reserve_slots=1)
    order.start(BULK, cost=1, weight=1, width=1)
    order.start(MORE_BULK, cost=1, weight=1, width=1)
    assert order.order(["chat.06.batch", SIDE, A]) == [A, SIDE]
    assert not order.fits("chat.06.batch", 1)
    order.end(BULK, width=1)
    assert order.order(["chat.06.batch", SIDE, A]) == [A, SIDE, "chat.06.batch"]


def test_running_is_the_width_in_use() -> None:
    order = fair()
    order.start(A, cost=1, weight=1, width=2)
    order.start(A, cost=1, weight=1, width=1)
    order.start(BULK, cost=1, weight=1, width=1)
    assert order.running == {A: 3, BULK: 1}
    order.end(A, width=2)
    order.end(BULK, width=1)
    assert order.running == {A: 1}


def test_an_end_gives_back_no_more_than_was_taken() -> None:
    order = fair(slots=2, reserve_slots=0)
    order.start(A, cost=1, weight=1, width=1)
    for _ in range(3):
        order.end(A, width=1)
    assert order.running == {}
    assert order.fits(A, 2)
    order.start(A, cost=1, weight=1, width=2)
    assert order.order([A, B]) == []


# Width


def test_a_wide_job_keeps_those_behind_it_from_overtaking() -> None:
    order = fair(slots=4, reserve_slots=0)
    order.start(C, cost=1, weight=1, width=2)
    order.counters = {A: 0, B: 5, C: 9}
    order.needs(A, 3)
    assert order.order([A, B, C]) == []
    order.counters[B] = -1
    assert order.order([A, B, C]) == [B]
    order.end(C, width=2)
    assert order.order([A, B, C]) == [B, A, C]


def test_a_lane_over_its_own_cap_holds_nobody_up() -> None:
    order = fair(slots=4, reserve_slots=1)
    order.start(A, cost=0, weight=1, width=2)
    order.needs(A, 3)
    assert order.order([A, B]) == [B]


def test_a_wide_batch_job_keeps_batch_from_overtaking_and_nobody_else() -> None:
    order = fair(slots=4, reserve_slots=2, batch=0.4)
    order.start(A, cost=10, weight=1, width=1)
    order.start(MORE_BULK, cost=1, weight=1, width=1)
    order.needs(BULK, 4)
    assert order.order([BULK, MORE_BULK, A]) == [A]
    order.end(MORE_BULK, width=1)
    assert order.order([BULK, MORE_BULK, A]) == [BULK, MORE_BULK, A]


def test_wider_than_ever_fits_counts_as_all_slots() -> None:
    order = fair(slots=4, reserve_slots=1)
    assert order.fits(A, 50)
    order.needs(A, 50)
    assert order.order([A, B]) == [A, B]
    order.start(A, cost=1, weight=1, width=50)
    assert order.running == {A: 4}
    assert order.order([A, B]) == [B]
    order.end(A, width=50)
    assert order.running == {}


def test_needs_are_forgotten_when_a_job_of_the_lane_starts() -> None:
    order = fair(slots=4, reserve_slots=0)
    order.needs(A, 4)
    order.start(A, cost=1, weight=1, width=1)
    assert order.order([A]) == [A]


def test_needs_are_forgotten_when_the_job_turns_out_to_be_gone() -> None:
    """Another worker took it: the lane was offered, it was empty, and a lane behind it started a job."""
    order = fair(slots=4, reserve_slots=0)
    order.needs(A, 4)
    order.counters = {B: 1, C: 2}
    assert order.order([A, B, C]) == [A, B, C]
    order.start(B, cost=5, weight=1, width=1)
    assert order.order([A, B, C]) == [A, C, B]


def test_needs_are_kept_while_the_lane_was_not_offered() -> None:
    order = fair(slots=4, reserve_slots=0)
    order.start(C, cost=5, weight=1, width=1)
    order.needs(A, 4)
    order.counters[B] = -1
    assert order.order([A, B, C]) == [B]
    order.start(B, cost=5, weight=1, width=1)
    assert order.order([A, B, C]) == []


# Back from idle


@pytest.mark.parametrize(
    ("counter", "waiting", "last", "lifted"),
    [
        (5, [20, 10, 30], 99, 10),
        (15, [20, 10, 30], 99, 15),
        (5, [], 40, 40),
        (50, [], 40, 50),
        (0, [0, 7], 40, 0),
    ],
)
def test_lift(counter: float, waiting: list[float], last: float, lifted: float) -> None:
    assert lift(counter, waiting, last) == lifted
