"""A transcription job's steps over the real broker: each once, whoever asks how often."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError, NotFound
from familyai.transcription import Event, Fault, Order, Outcome, Pace, Record, Recording, Source
from familyai.transcriptions import SAFETY_TTL_S, Superseded, TranscriptionStore

NOW_S, KEPT_S = 1_700_000_000.0, 3600.0
EVENT = Event("job.running", b"{}")


def an_order(job_id: str = "transcription-1", **fields: Any) -> Order:
    usual: dict[str, Any] = {
        "member": "ada",
        "model": "asr",
        "language": None,
        "formats": ("txt",),
        "word_timestamps": False,
        "webhook_url": None,
        "created_at_s": NOW_S,
        "sources": (Source("a.m4a"), Source("b.m4a", "file-1")),
    }
    return Order(id=job_id, **{**usual, **fields})


@pytest.fixture
def store(redis: Redis) -> TranscriptionStore:
    return TranscriptionStore(redis)


async def types(redis: Redis, job_id: str) -> list[str]:
    return [fields[b"type"].decode() for _, fields in await redis.xrange(keys.transcription_events(job_id))]


async def test_a_job_its_place_on_the_list_and_its_work_are_made_at_once(
    store: TranscriptionStore, redis: Redis
) -> None:
    order = an_order()
    for _ in range(2):
        await store.create(order)
    assert await store.get(order.id, "ada") == Record.new(order)
    assert await store.ids("ada") == [order.id]
    assert await redis.zrange(keys.WORK, 0, -1) == [b"transcription:transcription-1"]
    assert 0 < await redis.pttl(keys.transcription(order.id)) <= SAFETY_TTL_S * 1000
    with pytest.raises(NotFound):
        await store.get(order.id, "eve")
    with pytest.raises(NotFound):
        await store.get("transcription-2", "ada")


async def test_only_the_last_who_took_it_writes(store: TranscriptionStore, redis: Redis) -> None:
    order = an_order()
    await store.create(order)
    assert await store.take(order.id, "first", EVENT, NOW_S + 1)
    await store.advance(order.id, "first", 1, {"0": msgspec.json.encode(Recording(done_ms=5))}, Event("x", b"1"))
    assert await store.take(order.id, "second", EVENT, NOW_S + 9)
    with pytest.raises(Superseded):
        await store.advance(order.id, "first", 2, {"0": msgspec.json.encode(Recording(done_ms=7))}, Event("y", b"1"))
    record = await store.get(order.id, "ada")
    assert (record.status, record.started_at_s) == ("running", NOW_S + 1)
    assert record.recordings == (Recording(done_ms=5), Recording())
    assert await types(redis, order.id) == ["job.running", "x"]


async def test_a_step_that_is_sent_twice_is_made_once(store: TranscriptionStore, redis: Redis) -> None:
    order, pace = an_order(), msgspec.json.encode(Pace(NOW_S, 3))
    await store.create(order)
    for _ in range(2):
        await store.take(order.id, "run", EVENT, NOW_S)
        await store.advance(order.id, "run", 1, {"pace": pace}, Event("x", b"1"))
    assert await types(redis, order.id) == ["job.running", "x"]
    assert (await store.get(order.id, "ada")).pace == Pace(NOW_S, 3)


async def test_the_end_comes_once(store: TranscriptionStore, redis: Redis) -> None:
    order = an_order(webhook_url="https://example.com")
    await store.create(order)
    await store.take(order.id, "run", EVENT, NOW_S)
    done = Recording(status="completed", done_ms=9, duration_ms=9)
    await store.advance(order.id, "run", 1, {"0": msgspec.json.encode(done)})
    record = await store.get(order.id, "ada")

    cancelled = record.ended("cancelled", NOW_S + 5, NOW_S + 5 + KEPT_S)
    assert await store.end(cancelled, Event("job.cancelled", b"{}")) == "cancelled"
    failed = record.ended("failed", NOW_S + 6, NOW_S + 6 + KEPT_S, Fault("internal_error", "no"))
    assert await store.end(failed, Event("job.failed", b"{}"), "run") == "cancelled"
    assert not await store.take(order.id, "next", EVENT, NOW_S)
    with pytest.raises(Superseded):
        await store.advance(order.id, "run", 2, {"1": msgspec.json.encode(done)})

    record = await store.get(order.id, "ada")
    assert (record.status, record.ended_at_s, record.expires_at_s) == ("cancelled", NOW_S + 5, NOW_S + 5 + KEPT_S)
    assert [recording.status for recording in record.recordings] == ["completed", "cancelled"]
    assert await types(redis, order.id) == ["job.running", "job.cancelled"]
    for key in (keys.transcription(order.id), keys.transcription_events(order.id)):
        assert 0 < await redis.pttl(key) <= KEPT_S * 1000
    assert b"webhook:transcription-1" in await redis.zrange(keys.WORK, 0, -1)


async def test_a_drive_that_was_superseded_ends_nothing(store: TranscriptionStore) -> None:
    order = an_order()
    await store.create(order)
    await store.take(order.id, "old", EVENT, NOW_S)
    await store.take(order.id, "new", EVENT, NOW_S)
    record = (await store.get(order.id, "ada")).ended("completed", NOW_S, NOW_S + KEPT_S)
    assert await store.end(record, Event("job.completed", b"{}"), "old") == "running"
    assert await store.end(record, Event("job.completed", b"{}"), "new") == "completed"


async def test_a_failed_job_says_why_of_each_file(store: TranscriptionStore) -> None:
    order, fault = an_order(), Fault("internal_error", "something went wrong")
    await store.create(order)
    record = await store.get(order.id, "ada")
    await store.end(record.ended("failed", NOW_S, NOW_S + KEPT_S, fault), Event("job.failed", b"{}"))
    record = await store.get(order.id, "ada")
    assert record.error == fault
    assert [(recording.status, recording.error) for recording in record.recordings] == [("failed", fault)] * 2


async def test_what_is_deleted_stays_so(store: TranscriptionStore, redis: Redis) -> None:
    order = an_order()
    await store.create(order)
    await store.take(order.id, "run", EVENT, NOW_S)
    record = await store.get(order.id, "ada")
    await store.delete(record)
    assert await store.status(order.id) is None
    assert await store.ids("ada") == []
    with pytest.raises(Superseded):
        await store.advance(order.id, "run", 1, {"pace": b"{}"}, EVENT)
    assert await store.end(record.ended("cancelled", NOW_S, NOW_S), EVENT) is None
    await store.note_webhook(order.id, Outcome(NOW_S, 1, None))
    assert not await redis.exists(keys.transcription(order.id), keys.transcription_events(order.id))


async def test_what_expired_leaves_the_list(store: TranscriptionStore, redis: Redis) -> None:
    for n in range(3):
        await store.create(an_order(f"transcription-{n}", created_at_s=NOW_S + n))
    await redis.delete(keys.transcription("transcription-1"))
    ids = await store.ids("ada")
    assert ids == ["transcription-2", "transcription-1", "transcription-0"]
    assert [record.id for record in await store.records("ada", ids)] == ["transcription-2", "transcription-0"]
    assert await store.ids("ada") == ["transcription-2", "transcription-0"]


async def test_a_webhook_is_owed_until_its_outcome_is_noted(store: TranscriptionStore) -> None:
    order = an_order(webhook_url="https://example.com")
    await store.create(order)
    assert await store.awaits_webhook(order.id)
    outcome = Outcome(None, 5, "timeout")
    await store.note_webhook(order.id, outcome)
    assert not await store.awaits_webhook(order.id)
    assert (await store.get(order.id, "ada")).webhook == outcome
    assert not await store.awaits_webhook("transcription-unknown")


async def test_what_nobody_can_read_is_said_to_be_so(store: TranscriptionStore, redis: Redis) -> None:
    await redis.hset(keys.transcription("transcription-9"), mapping={"order": b"?", "status": b"queued"})
    with pytest.raises(DecodeError):
        await store.find("transcription-9")


def test_a_recording_changes_in_its_place() -> None:
    record = Record.new(an_order())
    changed = record.with_recording(1, Recording(done_ms=4))
    assert changed.recordings == (Recording(), Recording(done_ms=4))
    assert replace(changed, recordings=record.recordings) == record
