"""What a drive does when it is not alone, or when the store is full."""

import asyncio
import errno
from typing import Any

import pytest
from redis.asyncio import Redis

from api.work import results
from api.work.dispatch import Dispatcher
from api.work.drive import Drive
from api.work.journal import Journal, taken
from api.work.transcriptions import Transcriptions
from familyai import cancel
from familyai.catalogue import Profile
from familyai.transcription import Order, Record, Source
from familyai.transcriptions import Superseded, TranscriptionStore
from tests.api.asr import MODEL, QUEUE, Asr, duration_s, recording
from tests.api.support import PROFILE, Served, until

JOB = "transcription-1"


@pytest.fixture
def profile() -> Profile:
    return Profile.model_validate({**PROFILE, "queues": {**PROFILE["queues"], QUEUE: MODEL}})


@pytest.fixture
async def store(redis: Redis, served: Served, asr: Asr) -> TranscriptionStore:
    """With one job, which nobody drives but the test."""
    await redis.set("familyai:leader", "the-test")
    made = TranscriptionStore(redis)
    for n, words in enumerate((["one", "two", "three"], ["four"])):
        await served.front.blobs.put(results.audio_blob(JOB, n), recording(*words))
    order = Order(
        id=JOB,
        member="ada",
        model=QUEUE,
        language=None,
        formats=("txt",),
        word_timestamps=False,
        webhook_url=None,
        created_at_s=1_700_000_000.0,
        sources=(Source("a"), Source("b")),
    )
    await made.create(order)
    return made


async def begun(served: Served, store: TranscriptionStore) -> tuple[Journal, Drive]:
    journal = await taken(store, JOB)
    assert journal is not None
    return journal, Drive(served.front, Dispatcher(served.front), journal)


async def text(served: Served, n: int) -> bytes:
    return await served.front.blobs.get(results.result_blob(JOB, n, "txt"))


async def record(store: TranscriptionStore) -> Record:
    found = await store.find(JOB)
    assert found is not None
    return found


async def test_who_is_superseded_writes_no_more_and_the_next_goes_on(
    served: Served, store: TranscriptionStore, asr: Asr
) -> None:
    asr.open.clear()
    _, first = await begun(served, store)
    driving = asyncio.create_task(first.run())
    await until(lambda: sum(asr.cuts.values()) == 2, "both are cut")
    _, second = await begun(served, store)
    asr.open.set()
    with pytest.raises(Superseded):
        await driving
    await second.run()
    assert (await record(store)).status == "completed"
    assert (await text(served, 0), await text(served, 1)) == (b"one. two. three.\n", b"four.\n")


@pytest.mark.parametrize("step", range(1, 14))
async def test_it_may_die_before_any_write(
    served: Served, store: TranscriptionStore, asr: Asr, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The next goes on, and the end is the same."""
    journal, drive = await begun(served, store)
    advance, steps = journal._advance, 0

    async def dying(*args: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise ConnectionError("the power is gone")
        await advance(*args)

    monkeypatch.setattr(journal, "_advance", dying)
    with pytest.raises(ConnectionError):
        await drive.run()
    journal, drive = await begun(served, store)
    await drive.run()
    found = await record(store)
    assert found.status == "completed"
    assert [recording.done_ms / 1000 for recording in found.recordings] == [duration_s(3), duration_s(1)]
    assert (await text(served, 0), await text(served, 1)) == (b"one. two. three.\n", b"four.\n")
    assert sum(asr.heard.values()) <= 4 + 2
    assert all("/pieces/" not in name for name in await served.front.blobs.older_than(-60))


async def test_what_was_heard_waits_for_room_on_a_full_disk(
    served: Served, store: TranscriptionStore, asr: Asr, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = results.write_window, []

    def full_at_first(blobs: Any, name: str, transcript: Any) -> None:
        if len(refused) < 3:
            refused.append(name)
            raise OSError(errno.ENOSPC, "no space")
        write(blobs, name, transcript)

    monkeypatch.setattr("api.work.drive.REST_S", 0.01)
    monkeypatch.setattr(results, "write_window", full_at_first)
    _, drive = await begun(served, store)
    await drive.run()
    assert [recording.status for recording in (await record(store)).recordings] == ["completed", "completed"]
    assert len(refused) == 3
    assert set(asr.heard.values()) == {1}, "nothing is heard twice"


async def test_a_full_disk_fails_the_recording_it_hits(
    served: Served, store: TranscriptionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = results.write_window

    def full(blobs: Any, name: str, transcript: Any) -> None:
        if "/pieces/0/" in name:
            raise OSError(errno.ENOSPC, "no space")
        write(blobs, name, transcript)

    monkeypatch.setattr("api.work.drive.ROOM_WAIT_S", 0)
    monkeypatch.setattr(results, "write_window", full)
    _, drive = await begun(served, store)
    await drive.run()
    found = await record(store)
    assert [recording.status for recording in found.recordings] == ["failed", "completed"]
    assert found.recordings[0].error
    assert found.recordings[0].error.code == "insufficient_storage"


async def test_lost_parts_fail_the_recording_they_belong_to(
    served: Served, store: TranscriptionStore, asr: Asr
) -> None:
    asr.open.clear()
    _, first = await begun(served, store)
    driving = asyncio.create_task(first.run())

    async def is_cut() -> bool:
        return all(recording.cut for recording in (await record(store)).recordings)

    await until(is_cut, "both are cut")
    await cancel.end([driving])
    await served.front.blobs.delete(results.file_folder(JOB, 0))
    asr.open.set()
    _, second = await begun(served, store)
    await second.run()
    found = await record(store)
    assert [recording.status for recording in found.recordings] == ["failed", "completed"]
    assert found.recordings[0].error
    assert found.recordings[0].error.code == "parts_lost"


async def test_a_model_that_is_gone_ends_the_job(served: Served, store: TranscriptionStore) -> None:
    journal, drive = await begun(served, store)
    del served.front.profile.queues[QUEUE]
    await drive.run()
    assert journal.record.status == "failed"
    assert journal.record.error
    assert journal.record.error.code == "model_not_found"


async def test_given_up(served: Served, store: TranscriptionStore) -> None:
    transcriptions = Transcriptions(served.front, Dispatcher(served.front))
    assert not await transcriptions.jobs.is_over(JOB)
    await transcriptions.jobs.give_up(JOB, "it crashed")
    found = await record(store)
    assert found.status == "failed"
    assert found.error
    assert (found.error.code, found.error.message) == ("internal_error", "it crashed")
    assert await transcriptions.jobs.is_over(JOB)
    assert await transcriptions.jobs.is_over("transcription-unknown")
    assert await taken(store, JOB) is None
