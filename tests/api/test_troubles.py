import pytest

from api.troubles import ENDED_S, Since, Trouble, troubles, update, verdict
from familyai.errors import Cancelled
from familyai.jobs import Record, State

NO_WORKER_WAIT_S, DEADLINE_S = 30, 600
WAITS = Record(State.QUEUED, None, "q.00")


@pytest.mark.parametrize(
    ("record", "alive", "lanes", "expected"),
    [
        (WAITS, {"w1"}, {"q.00", "q.01"}, {Trouble.QUEUED}),
        (WAITS, {"w1"}, set(), {Trouble.QUEUED, Trouble.MESSAGE_LOST}),
        (WAITS, {"w1"}, {"q.01"}, {Trouble.QUEUED, Trouble.MESSAGE_LOST}),
        (WAITS, set(), {"q.00"}, {Trouble.QUEUED, Trouble.NO_WORKER}),
        (Record(State.QUEUED, None, "q.00", attempt=1), {"w1"}, {"q.00"}, set()),
        (Record(State.QUEUED, None, "q.00", attempt=1), set(), set(), {Trouble.NO_WORKER, Trouble.MESSAGE_LOST}),
        (Record(State.RUNNING, "w1", "q.00"), {"w1", "w2"}, set(), set()),
        (Record(State.RUNNING, "w1", "q.00"), {"w2"}, {"q.00"}, {Trouble.WORKER_LOST}),
        (Record(State.DONE, "w1"), {"w1"}, set(), {Trouble.ENDED}),
        (Record(State.FAILED, "w1"), {"w1"}, set(), {Trouble.ENDED}),
        (Record(State.CANCELLED), {"w1"}, set(), {Trouble.ENDED}),
        (Record(None), {"w1"}, set(), {Trouble.ENDED}),
    ],
)
def test_what_can_be_wrong_with_a_job(record: Record, alive: set[str], lanes: set[str], expected: set[Trouble]) -> None:
    assert troubles(record, alive, lanes) == expected


@pytest.mark.parametrize(
    ("since", "now_s", "code"),
    [
        ({}, 1e6, None),
        ({Trouble.QUEUED: 0}, 599, None),
        ({Trouble.QUEUED: 0}, 600, "queue_timeout"),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 100}, 129, None),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 100}, 130, "no_worker"),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 570}, 600, "no_worker"),
        ({Trouble.WORKER_LOST: 0}, 1e6, None),
        ({Trouble.ENDED: 0}, ENDED_S - 0.1, None),
        ({Trouble.ENDED: 0}, ENDED_S, "reply_lost"),
        ({Trouble.MESSAGE_LOST: 0}, 1e6, None),
    ],
)
def test_each_trouble_is_borne_for_its_time(since: Since, now_s: float, code: str | None) -> None:
    failure = verdict(since, now_s, NO_WORKER_WAIT_S, DEADLINE_S)

    assert (failure.code if failure else None) == code
    assert failure is None or failure.retry_after_s


def test_what_was_taken_back_is_no_loss() -> None:
    failure = verdict({Trouble.ENDED: 0}, ENDED_S, NO_WORKER_WAIT_S, DEADLINE_S, is_cancelled=True)

    assert isinstance(failure, Cancelled)


def test_a_household_may_refuse_at_the_first_look() -> None:
    since = update({}, {Trouble.QUEUED, Trouble.NO_WORKER}, 5.0)

    failure = verdict(since, 5.0, 0, DEADLINE_S)

    assert failure is not None
    assert failure.code == "no_worker"


def test_a_trouble_that_passed_starts_anew() -> None:
    since = update({}, {Trouble.NO_WORKER}, 0)
    since = update(since, {Trouble.NO_WORKER}, 10)
    assert since == {Trouble.NO_WORKER: 0}

    since = update(since, set(), 20)
    assert update(since, {Trouble.NO_WORKER}, 30) == {Trouble.NO_WORKER: 30}
