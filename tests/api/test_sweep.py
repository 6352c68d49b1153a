"""Only what nobody can ask for any more is swept away."""

import os
from pathlib import Path

import pytest
from redis.asyncio import Redis

from api.sweep import Sweeper
from familyai import keys
from familyai.blobs import BlobStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


async def test_objects_without_a_record_go(redis: Redis, folder: Path) -> None:
    blobs = BlobStore(folder.as_uri())
    kept = {"requests/job-1", "files/file-1", "batches/batch-1/7", "transcriptions/t-1/0/audio", "files/young"}
    gone = {
        "requests/job-2",
        "files/file-2",
        "batches/batch-2/7",
        "transcriptions/t-2/0/audio",
        "odd",
        "files/a.1.part",
    }
    for name in kept | gone:
        await blobs.put(name, b"x")
        if name != "files/young":
            os.utime(folder / name, (0, 0))
    for key in (keys.job("job-1"), keys.file("file-1")):
        await redis.set(key, "x")
    for key, status in ((keys.batch("batch-1"), "in_progress"), (keys.transcription("t-1"), "completed")):
        await redis.hset(key, "status", status)

    assert await Sweeper(blobs, redis, age_s=60).sweep() == len(gone)
    assert set(await blobs.older_than(-60)) == kept


async def test_more_objects_than_one_look_asks_for(redis: Redis, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.sweep.AT_ONCE", 3)
    blobs = BlobStore(folder.as_uri())
    for number in range(8):
        await blobs.put(f"files/{number}", b"x")
    await redis.set(keys.file("5"), "x")
    assert await Sweeper(blobs, redis, age_s=-60).sweep() == 7
    assert await blobs.older_than(-60) == ["files/5"]


async def test_an_upload_that_takes_long_keeps_its_first_recordings(redis: Redis, folder: Path) -> None:
    """They are there before their record is; only what nobody writes beside any more is nobody's."""
    blobs = BlobStore(folder.as_uri())
    for name in ("transcriptions/t-1/audio/0", "transcriptions/t-2/audio/0"):
        await blobs.put(name, b"x")
        os.utime(folder / name, (0, 0))
    async with blobs.writing("transcriptions/t-1/audio/1") as writer:
        await writer.write(b"x")
        await Sweeper(blobs, redis, age_s=60).sweep()
    assert await blobs.older_than(-60) == ["transcriptions/t-1/audio/0", "transcriptions/t-1/audio/1"]


async def test_what_led_to_results_goes_when_its_work_is_over(redis: Redis, folder: Path) -> None:
    """Whoever should have deleted it was killed, or somebody wrote it a moment later."""
    blobs = BlobStore(folder.as_uri())
    statuses = {
        keys.batch("going"): "finalizing",
        keys.batch("over"): "cancelled",
        keys.transcription("going"): "running",
        keys.transcription("over"): "failed",
    }
    for key, status in statuses.items():
        await redis.hset(key, "status", status)
    kept = {"batches/going/1.failed", "transcriptions/going/pieces/0/a.pcm"}
    kept |= {"transcriptions/over/audio/0", "transcriptions/over/results/0.txt"}
    gone = {"batches/over/1.completed", "transcriptions/over/pieces/0/a.pcm", "transcriptions/over/pieces/0/1.json"}
    for name in kept | gone:
        await blobs.put(name, b"x")
    assert await Sweeper(blobs, redis, age_s=-60).sweep() == len(gone)
    assert set(await blobs.older_than(-60)) == kept


async def test_folders_of_what_is_gone_go_with_it(redis: Redis, folder: Path) -> None:
    blobs = BlobStore(folder.as_uri())
    await blobs.put("transcriptions/t-1/audio/0", b"x")
    await Sweeper(blobs, redis, age_s=-60).sweep()
    assert list((folder / "transcriptions").iterdir()) == []
