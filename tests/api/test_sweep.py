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
    for key in (keys.job("job-1"), keys.file("file-1"), keys.batch("batch-1"), keys.transcription("t-1")):
        await redis.set(key, "x")

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
