"""A batch's record: one way through its states, each line counted once, nothing done twice."""

import time
from typing import Any

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.batches import Batch, BatchStore, Problem, Status, Verdict, new_batch_id
from familyai.errors import DecodeError, NotFound

KEEP_S = 1000.0


def a_batch(**fields: Any) -> Batch:
    now_s = time.time()
    ordinary = {"id": new_batch_id(), "member": "ada", "endpoint": "/v1/chat/completions", "input_file_id": "file-1"}
    times = {"completion_window": "24h", "created_at_s": now_s, "expires_at_s": now_s + 86400, "output_keep_s": 60.0}
    return Batch(**{**ordinary, **times, **fields})


@pytest.fixture
def store(redis: Redis) -> BatchStore:
    return BatchStore(redis, KEEP_S)


async def test_the_usual_way(store: BatchStore, redis: Redis) -> None:
    batch = a_batch(metadata={"a": "b"})
    record = await store.create(batch)
    assert (record.batch, record.status, record.total) == (batch, Status.VALIDATING, 0)
    assert await redis.zrange(keys.WORK, 0, -1) == [f"batch:{batch.id}".encode()]
    assert not await store.mark(batch.id, 1, Verdict.COMPLETED)  # not yet

    assert await store.begin(batch.id, 3)
    assert await store.mark(batch.id, 10, Verdict.FAILED)
    assert await store.mark(batch.id, 2, Verdict.COMPLETED)
    assert not await store.mark(batch.id, 2, Verdict.FAILED)  # the first one counts
    record = await store.get(batch.id, "ada")
    assert (record.status, record.total, record.completed, record.failed) == (Status.IN_PROGRESS, 3, 1, 1)
    assert list((await store.marks(batch.id)).items()) == [(2, Verdict.COMPLETED), (10, Verdict.FAILED)]

    assert await store.finalize(batch.id)
    assert not await store.mark(batch.id, 3, Verdict.COMPLETED)  # no longer
    assert await store.end(batch.id, Status.EXPIRED, "file-o", None)
    record = await store.get(batch.id, "ada")
    assert (record.status, record.output_file_id, record.error_file_id) == (Status.EXPIRED, "file-o", None)
    assert set(record.times_s) == {"in_progress_at", "finalizing_at", "expired_at"}


async def test_steps_may_be_repeated(store: BatchStore) -> None:
    batch = a_batch()
    await store.create(batch)
    assert await store.begin(batch.id, 3)
    assert (await store.create(batch)).status is Status.IN_PROGRESS
    before = await store.get(batch.id, "ada")
    assert await store.begin(batch.id, 7)
    assert await store.get(batch.id, "ada") == before


async def test_what_has_ended_stays_so(store: BatchStore) -> None:
    batch = a_batch()
    await store.create(batch)
    problem = Problem("invalid_json_line", "no", None, 7)
    assert await store.fail(batch.id, [problem])
    for step in (store.begin(batch.id, 1), store.finalize(batch.id), store.cancel(batch.id)):
        assert not await step
    assert not await store.end(batch.id, Status.COMPLETED, None, None)
    record = await store.get(batch.id, "ada")
    assert (record.status, record.problems) == (Status.FAILED, (problem,))


@pytest.mark.parametrize("is_begun", [False, True])
async def test_cancelling(store: BatchStore, is_begun: bool) -> None:
    batch = a_batch()
    await store.create(batch)
    if is_begun:
        await store.begin(batch.id, 1)
    assert await store.cancel(batch.id)
    assert await store.cancel(batch.id)
    assert not await store.begin(batch.id, 1)
    assert not await store.finalize(batch.id)
    assert await store.end(batch.id, Status.CANCELLED, None, None)
    assert not await store.cancel(batch.id)
    assert await store.status(batch.id) is Status.CANCELLED


async def test_a_record_is_kept_until_some_time_after_its_end(store: BatchStore, redis: Redis) -> None:
    batch = a_batch()
    await store.create(batch)
    assert KEEP_S < await redis.ttl(keys.batch(batch.id)) <= 86400 + KEEP_S
    await store.begin(batch.id, 1)
    assert await redis.ttl(keys.batch(batch.id)) > KEEP_S
    await store.fail(batch.id, [])
    assert 0 < await redis.ttl(keys.batch(batch.id)) <= KEEP_S


async def test_everybody_sees_their_own(store: BatchStore, redis: Redis) -> None:
    mine = [a_batch(created_at_s=float(number)) for number in range(3)]
    for batch in mine:
        await store.create(batch)
    other = a_batch(member="bob")
    await store.create(other)
    assert [record.id for record in await store.all("ada")] == [batch.id for batch in reversed(mine)]
    with pytest.raises(NotFound):
        await store.get(other.id, "ada")
    with pytest.raises(NotFound):
        await store.get("batch_x", "ada")
    await redis.delete(keys.batch(mine[1].id))
    assert [record.id for record in await store.all("ada")] == [mine[2].id, mine[0].id]
    assert await redis.zcard(keys.batches("ada")) == 2
    assert await store.all("nobody") == []


async def test_what_is_not_there(store: BatchStore, redis: Redis) -> None:
    assert await store.find("batch_x") is None
    assert await store.status("batch_x") is None
    assert not await store.begin("batch_x", 1)
    assert not await store.mark("batch_x", 1, Verdict.FAILED)
    assert not await redis.exists(keys.batch("batch_x"))
    await redis.hset(keys.batch("batch_y"), mapping={"batch": "{}", "status": "new"})
    assert await store.status("batch_y") is None
    with pytest.raises(DecodeError):
        await store.find("batch_y")
