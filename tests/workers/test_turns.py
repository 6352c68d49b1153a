"""Whose turn it is, between Celery's thread and the engine's loop."""

import threading
import time

import pytest

from familyai.lanes import Priority, lanes
from tests.support import a_job
from tests.workers.delivering import MODEL, arrived, turns_of
from workers.turns import LaneCycle, Turns

NAMES = [lane.name for lane in lanes("q", 3) if lane.priority is Priority.INTERACTIVE]


@pytest.fixture
def turns() -> Turns:
    return turns_of()


def test_who_was_served_least_is_asked_first(turns: Turns) -> None:
    arrived(turns, a_job(lane_number=0, cost=5.0))
    arrived(turns, a_job(lane_number=1, cost=2.0))
    assert turns.lanes(NAMES) == ["q.02", "q.01", "q.00"]


def test_kombu_asks_the_same_of_each_cycle(turns: Turns) -> None:
    first, second = LaneCycle(turns), LaneCycle(turns)
    for cycle in (first, second):
        cycle.update(NAMES)
    arrived(turns, a_job(lane_number=0))
    assert first.consume(len(NAMES)) == second.consume(len(NAMES)) == turns.lanes(NAMES)
    assert first.rotate("q.00") == "q.00"
    assert first.consume(1) == ["q.00"]


def test_a_full_worker_asks_for_nothing_and_need_not_be_woken(turns: Turns) -> None:
    begun = [arrived(turns, a_job(lane_number=number)) for number in range(MODEL.places)]
    assert turns.lanes(NAMES) == []
    turns.over(begun[0], 1.0)
    assert not turns.outdated
    assert turns.lanes(NAMES)


def test_a_lane_that_was_left_out_and_has_room_again_makes_the_request_outdated(turns: Turns) -> None:
    begun = [arrived(turns, a_job()) for _ in range(MODEL.slots)]
    assert "q.00" not in turns.lanes(NAMES)
    assert not turns.outdated
    turns.over(begun[0], 1.0)
    assert turns.outdated
    assert "q.00" in turns.lanes(NAMES)
    assert not turns.outdated


def test_a_job_that_turns_out_cheap_gives_back_and_one_that_grows_is_charged_as_it_grows(turns: Turns) -> None:
    cheap, dear = arrived(turns, a_job(cost=10.0)), arrived(turns, a_job(lane_number=1, cost=10.0, weight=2.0))
    turns.grown(cheap, 4.0)
    turns.grown(dear, 30.0)
    assert turns.take_unshared() == {"q.00": 10.0, "q.01": 15.0}
    turns.over(cheap, 4.0)
    turns.over(dear, 34.0)
    assert turns.take_unshared() == {"q.00": -6.0, "q.01": 2.0}


def test_a_job_without_room_is_not_charged_and_its_lane_waits_for_room(turns: Turns) -> None:
    narrow = arrived(turns, a_job())
    wide = arrived(turns, a_job(lane_number=1, width=2))
    third = arrived(turns, a_job(lane_number=2, width=2))
    assert [turn.began for turn in (narrow, wide, third)] == [True, True, False]
    assert "q.02" not in turns.take_unshared()
    turns.over(third, 0.0)
    turns.over(narrow, 1.0)
    assert "q.02" not in turns.lanes(NAMES)
    turns.over(wide, 1.0)
    assert "q.02" in turns.lanes(NAMES)


def test_what_was_heard_of_others_counts_beside_what_was_not_yet_told(turns: Turns) -> None:
    turns.over(arrived(turns, a_job(lane_number=0, cost=3.0)), 3.0)
    turns.take_unshared()
    arrived(turns, a_job(lane_number=0, cost=1.0))
    turns.learn({"q.00": 3.0, "q.01": 3.5})
    assert turns.lanes(NAMES) == ["q.02", "q.01", "q.00"]  # 3.5 against 3 + 1


def test_a_held_lane_is_left_alone_for_a_while(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    held = arrived(turns, a_job())
    turns.hold(held, 0.1)
    turns.over(held, 0.0)
    assert "q.00" not in turns.lanes(NAMES)
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 0.1)
    turns.release_held()
    assert turns.outdated
    assert "q.00" in turns.lanes(NAMES)


def test_a_held_lane_is_asked_again_as_soon_as_a_job_of_it_is_over(turns: Turns) -> None:
    running, held = arrived(turns, a_job()), arrived(turns, a_job())
    turns.hold(held, 10.0)
    turns.over(held, 0.0)
    assert "q.00" not in turns.lanes(NAMES)
    turns.over(running, 1.0)
    assert "q.00" in turns.lanes(NAMES)


def test_a_wide_job_that_may_be_gone_keeps_no_place_for_ever(turns: Turns) -> None:
    narrow = arrived(turns, a_job())
    wide = arrived(turns, a_job(lane_number=1, width=2))
    too_wide = arrived(turns, a_job(lane_number=2, width=2))
    turns.over(too_wide, 0.0)
    turns.over(narrow, 100.0)
    assert "q.00" not in turns.lanes(NAMES)  # one place is free, and kept for the lane that had less
    turns.forget_width("q.02")
    assert turns.lanes(NAMES) == ["q.02", "q.00"]
    turns.over(wide, 1.0)


def test_a_question_is_no_request(turns: Turns) -> None:
    arrived(turns, a_job())
    turns.lanes(NAMES)
    assert turns.could_begin(["q.01"])
    assert not turns.outdated


def test_two_threads_lose_nothing(turns: Turns) -> None:
    """What one charges while the other takes is in one of the takings."""
    taken, done = [0.0], threading.Event()

    def take() -> None:
        while not done.is_set():
            taken[0] += sum(turns.take_unshared().values())

    taking = threading.Thread(target=take)
    taking.start()
    for _ in range(2000):
        turns.over(arrived(turns, a_job(cost=1.0)), 1.0)
    done.set()
    taking.join()
    assert taken[0] + sum(turns.take_unshared().values()) == 2000.0


def test_a_message_that_comes_again_while_it_is_served_has_a_turn_of_its_own(turns: Turns) -> None:
    """As after a break of the connection: places are given back as often as they were taken."""
    first, again = arrived(turns, a_job()), arrived(turns, a_job())
    assert "q.00" not in turns.lanes(NAMES)
    for turn in (again, first):
        turns.over(turn, 1.0)
    assert "q.00" in turns.lanes(NAMES)
    with pytest.raises(KeyError):
        turns.begin("tag")
