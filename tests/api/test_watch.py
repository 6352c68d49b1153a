import pytest

from api.watch import ENDED_S, Since, Trouble, troubles, update, verdict
from familyai.catalogue import Limits
from familyai.jobs import Record, State

LIMITS = Limits(no_worker_wait_s=30, queue_wait_s=600)


@pytest.mark.parametrize(
    ("record", "alive", "expected"),
    [
        (Record(State.QUEUED), {"w1"}, {Trouble.QUEUED}),
        (Record(State.QUEUED), set(), {Trouble.QUEUED, Trouble.NO_WORKER}),
        (Record(State.RUNNING, "w1"), {"w1", "w2"}, set()),
        (Record(State.RUNNING, "w1"), {"w2"}, {Trouble.WORKER_LOST}),
        (Record(State.DONE, "w1"), {"w1"}, {Trouble.ENDED}),
        (Record(State.FAILED, "w1"), {"w1"}, {Trouble.ENDED}),
        (Record(State.CANCELLED), {"w1"}, {Trouble.ENDED}),
        (Record(None), {"w1"}, {Trouble.ENDED}),
    ],
)
def test_what_can_be_wrong_with_a_job(record: Record, alive: set[str], expected: set[Trouble]) -> None:
    assert troubles(record, alive) == expected


@pytest.mark.parametrize(
    ("since", "now_s", "code"),
    [
        ({}, 1e6, None),
        ({Trouble.QUEUED: 0}, 599, None),
        ({Trouble.QUEUED: 0}, 600, "queue_timeout"),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 100}, 129, None),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 100}, 130, "no_worker"),
        ({Trouble.QUEUED: 0, Trouble.NO_WORKER: 570}, 600, "no_worker"),
        ({Trouble.WORKER_LOST: 10}, 10, None),
        ({Trouble.WORKER_LOST: 10}, 11, "worker_lost"),
        ({Trouble.ENDED: 0}, ENDED_S - 0.1, None),
        ({Trouble.ENDED: 0}, ENDED_S, "reply_lost"),
    ],
)
def test_each_trouble_is_borne_for_its_time(since: Since, now_s: float, code: str | None) -> None:
    failure = verdict(since, now_s, LIMITS)

    assert (failure.code if failure else None) == code
    assert failure is None or failure.retry_after_s


def test_a_household_may_refuse_at_the_first_look() -> None:
    since = update({}, {Trouble.QUEUED, Trouble.NO_WORKER}, 5.0)

    failure = verdict(since, 5.0, Limits(no_worker_wait_s=0))

    assert failure is not None
    assert failure.code == "no_worker"


def test_a_trouble_that_passed_starts_anew() -> None:
    since = update({}, {Trouble.NO_WORKER}, 0)
    since = update(since, {Trouble.NO_WORKER}, 10)
    assert since == {Trouble.NO_WORKER: 0}

    since = update(since, set(), 20)
    assert update(since, {Trouble.NO_WORKER}, 30) == {Trouble.NO_WORKER: 30}
