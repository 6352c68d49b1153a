"""Jobs nobody waits for, with a broker and a blob store that may not be there."""

from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from api.withdraw import Withdrawals
from familyai.blobs import BlobStore
from familyai.job import own_blob
from familyai.jobs import JobStore, State
from tests.support import a_job


class Flaky(JobStore):
    """Whose broker is down until it is not."""

    down = False
    asked = 0

    async def cancel(self, job_id: str) -> State | None:
        self.asked += 1
        if self.down:
            raise RedisConnectionError
        return await super().cancel(job_id)


@pytest.fixture
def jobs(redis: Redis) -> Flaky:
    return Flaky(redis, record_ttl_s=60)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path.as_uri())


async def state_of(jobs: JobStore, job_id: str) -> State | None:
    (record,) = await jobs.records([job_id])
    return record.state


async def test_a_job_and_its_body_go(jobs: Flaky, blobs: BlobStore) -> None:
    job = a_job()
    await jobs.enqueue(job)
    await blobs.put(own_blob(job.id), b"{}")
    withdrawals = Withdrawals(jobs, blobs, 60)

    withdrawals.add(job.id)
    await withdrawals.finish()

    assert await state_of(jobs, job.id) is State.CANCELLED
    assert await jobs.waiting(job.queue) == 0
    with pytest.raises(FileNotFoundError):
        await blobs.get(own_blob(job.id))
    await withdrawals.retry()
    assert jobs.asked == 1


async def test_what_the_broker_did_not_hear_is_said_again(jobs: Flaky, blobs: BlobStore) -> None:
    job = a_job()
    await jobs.enqueue(job)
    await blobs.put(own_blob(job.id), b"{}")
    withdrawals = Withdrawals(jobs, blobs, 60)
    jobs.down = True
    withdrawals.add(job.id)
    await withdrawals.finish()
    with pytest.raises(FileNotFoundError):  # one store's trouble is not the other's
        await blobs.get(own_blob(job.id))
    with pytest.raises(RedisConnectionError):
        await withdrawals.retry()

    jobs.down = False
    await withdrawals.retry()

    assert await state_of(jobs, job.id) is State.CANCELLED
    assert await jobs.waiting(job.queue) == 0


async def test_what_has_expired_is_owed_no_more(jobs: Flaky, blobs: BlobStore) -> None:
    withdrawals = Withdrawals(jobs, blobs, record_ttl_s=0)
    jobs.down = True
    withdrawals.add("job-1")
    await withdrawals.finish()

    await withdrawals.retry()

    assert jobs.asked == 0


async def test_a_store_without_its_disk_keeps_no_job_alive(
    jobs: Flaky, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: str) -> None:
        raise OSError("no disk")

    monkeypatch.setattr(blobs, "delete", broken)
    job = a_job()
    await jobs.enqueue(job)
    withdrawals = Withdrawals(jobs, blobs, 60)
    withdrawals.add(job.id)
    await withdrawals.finish()

    assert await state_of(jobs, job.id) is State.CANCELLED
