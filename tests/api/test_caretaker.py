"""Jobs that nobody in particular looks after. Two fronts do it at once, or one of them dies in between."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from api.caretaker import Caretaker
from api.follow import Followers
from api.replies import Reply
from api.troubles import Trouble
from api.withdraw import Withdrawals
from familyai import keys
from familyai.blobs import BlobStore
from familyai.errors import RequestError
from familyai.frame import Body, End, Frame, Start, Tokens
from familyai.job import own_blob
from familyai.job_log import JobLog, entry
from familyai.jobs import MOST_ATTEMPTS, Claim, Delivery, JobStore, Record, State
from familyai.past import Past
from tests.support import a_job

START, WORDS = Start("job-1", 1, 0, 200, (), "dead", 0), Body("job-1", 1, 1, b"words", Tokens(2, ((7, 8),)))
LOST = [Trouble.WORKER_LOST]


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, record_ttl_s=60)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path.as_uri())


@pytest.fixture
def withdrawals(jobs: JobStore, blobs: BlobStore) -> Withdrawals:
    return Withdrawals(jobs, blobs, record_ttl_s=60)


@pytest.fixture
def caretaker(jobs: JobStore, logs: JobLog, withdrawals: Withdrawals) -> Caretaker:
    return Caretaker(jobs, logs, Followers(logs), withdrawals, queue_wait_s=600)


async def ran(jobs: JobStore, logs: JobLog, *frames: Frame, **fields: Any) -> None:
    """A detached job whose worker is no more."""
    job = a_job(**{"id": "job-1", "front": "", "logged": True, "continues": True} | fields)
    await jobs.enqueue(job)
    assert isinstance(await claimed(jobs, "dead"), Claim)
    if frames:
        await logs.append([entry(frames)])


async def claimed(jobs: JobStore, worker: str) -> Any:
    return await jobs.claim(Delivery("job-1", "q.00", "ada"), "q", worker)


async def record_of(jobs: JobStore) -> Record:
    (record,) = await jobs.records(["job-1"])
    return record


async def error_of(logs: JobLog) -> str:
    """With which the answer ends for whoever reads it."""
    reply = Reply("job-1", "q")
    await Followers(logs).catch_up(reply)
    while await reply.news(within_s=0):
        try:
            await reply.frames()
        except RequestError as error:
            return error.code
    pytest.fail("it does not end")


async def test_it_waits_again_with_what_its_log_has(caretaker: Caretaker, jobs: JobStore, logs: JobLog) -> None:
    await ran(jobs, logs, START, WORDS)
    await caretaker.care("job-1", await record_of(jobs), LOST)
    claim = await claimed(jobs, "w2")

    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.past) == (2, Past(2, ((7, 8),)))


async def test_several_fronts_do_it_once(caretaker: Caretaker, jobs: JobStore, logs: JobLog, redis: Redis) -> None:
    await ran(jobs, logs, START, WORDS)
    record, lane = await record_of(jobs), "q.00"
    await redis.delete(lane)
    await asyncio.gather(*(caretaker.care("job-1", record, LOST) for _ in range(8)))
    await caretaker.care("job-1", record, LOST)  # and one that was late

    assert await redis.llen(lane) == 1
    assert (await claimed(jobs, "w2")).attempt == 2


async def test_what_a_front_that_died_did_not_come_to_another_does(
    caretaker: Caretaker, jobs: JobStore, logs: JobLog, redis: Redis
) -> None:
    await ran(jobs, logs, START, WORDS)
    await caretaker.care("job-1", await record_of(jobs), LOST)
    await redis.delete("q.00")  # the message that was to be pushed, or was taken along by the next dead worker
    await caretaker.care("job-1", await record_of(jobs), [Trouble.MESSAGE_LOST])

    assert await redis.llen("q.00") == 1


async def test_an_answer_that_is_all_there_is_recorded_as_such(
    caretaker: Caretaker, jobs: JobStore, logs: JobLog
) -> None:
    await ran(jobs, logs, START, WORDS, End("job-1", 1, 2))
    await caretaker.care("job-1", await record_of(jobs), LOST)
    assert (await record_of(jobs)).state is State.DONE

    await caretaker.care("job-1", await record_of(jobs), [])
    assert await jobs.detached() == []


@pytest.mark.parametrize("frames", [(START, WORDS, End("job-1", 1, 2)), (START, WORDS)])
async def test_a_large_body_goes_with_the_end_that_a_dead_worker_did_not_record(
    caretaker: Caretaker, jobs: JobStore, logs: JobLog, blobs: BlobStore, frames: tuple[Frame, ...]
) -> None:
    await blobs.put(own_blob("job-1"), b"large")
    await ran(jobs, logs, *frames, continues=False)
    await caretaker.care("job-1", await record_of(jobs), LOST)

    assert await blobs.older_than(-60) == []


async def test_what_nobody_can_continue_fails_and_its_log_says_so(
    caretaker: Caretaker, jobs: JobStore, logs: JobLog
) -> None:
    await ran(jobs, logs, START, WORDS, continues=False)
    await caretaker.care("job-1", await record_of(jobs), LOST)

    assert (await record_of(jobs)).state is State.FAILED
    assert await error_of(logs) == "worker_lost"


async def test_what_kills_one_worker_after_another_is_set_aside(
    caretaker: Caretaker, jobs: JobStore, logs: JobLog
) -> None:
    await ran(jobs, logs, START)
    for _ in range(MOST_ATTEMPTS):
        await caretaker.care("job-1", await record_of(jobs), LOST)
        await claimed(jobs, "dead")

    assert await jobs.set_aside() == ["job-1"]
    assert await error_of(logs) == "set_aside"


async def test_who_waited_too_long_never_starts(
    caretaker: Caretaker, withdrawals: Withdrawals, jobs: JobStore, logs: JobLog, redis: Redis
) -> None:
    await jobs.enqueue(a_job(id="job-1", front="", logged=True))
    await redis.hset(keys.job("job-1"), "created_at_s", 1)
    await caretaker.care("job-1", await record_of(jobs), [])

    assert await error_of(logs) == "queue_timeout"
    await withdrawals.finish()
    assert (await record_of(jobs)).state is State.CANCELLED


async def test_the_time_in_the_line_counts_anew_for_who_was_taken_back(
    caretaker: Caretaker, jobs: JobStore, logs: JobLog, redis: Redis
) -> None:
    await ran(jobs, logs, START, WORDS)
    await redis.hset(keys.job("job-1"), "created_at_s", 1)
    for troubles in (LOST, []):
        await caretaker.care("job-1", await record_of(jobs), troubles)

    assert (await claimed(jobs, "w2")).attempt == 2
