from pathlib import Path

import pytest
from redis.asyncio import Redis

from api.replies import ReplyHub
from api.watch import ENDED_S, Since, Trouble, Watch, troubles, update, verdict
from api.withdraw import Withdrawals
from familyai.blobs import BlobStore
from familyai.catalogue import Limits
from familyai.errors import Unavailable
from familyai.frame import End, Start
from familyai.jobs import JobStore, Record, State
from familyai.registry import WorkerRegistry

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


async def test_an_answer_that_is_here_whole_may_be_read_slowly(redis: Redis, broker_url: str, tmp_path: Path) -> None:
    replies = ReplyHub(broker_url, "front-1", on_stray=lambda job_id: None)
    replies.subscription.connected.set()
    jobs = JobStore(redis, record_ttl_s=60)
    withdrawals = Withdrawals(jobs, BlobStore(tmp_path.as_uri()), record_ttl_s=60)
    watch = Watch(replies, withdrawals, jobs, WorkerRegistry(redis), LIMITS)
    whole, half = replies.open("job-1", "chat"), replies.open("job-2", "chat")
    frames = [Start("job-1", 1, 0, 200, (), "w", 0), End("job-1", 1, 1)]
    for frame in frames:
        whole.put(frame)

    for now_s in (0, ENDED_S, 2 * ENDED_S):  # neither job has a record any more
        await watch.look(now_s)

    assert await whole.frames() == frames
    with pytest.raises(Unavailable) as caught:
        await half.frames()
    assert caught.value.code == "reply_lost"
