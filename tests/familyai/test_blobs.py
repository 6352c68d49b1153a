"""Large bodies come back as they were, appear whole, and do not outlive their jobs for long."""

import asyncio
import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from familyai.blobs import CHUNK_BYTES, BlobStore
from familyai.errors import ConfigurationError
from familyai.job import new_job_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(folder: Path) -> BlobStore:
    return BlobStore(f"file://{folder}")


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def age(path: Path, by_s: float) -> None:
    os.utime(path, (time.time() - by_s,) * 2)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=1000))
async def test_an_object_comes_back_as_it_was(blobs: BlobStore, data: bytes) -> None:
    await blobs.put("job-1", data)
    assert await blobs.get("job-1") == data


async def test_the_last_object_of_a_name_counts(blobs: BlobStore) -> None:
    await blobs.put("job-1", b"long" * 1000)
    await blobs.put("job-1", b"short")
    assert await blobs.get("job-1") == b"short"


async def test_objects_are_files_under_their_names(blobs: BlobStore, folder: Path) -> None:
    names = {new_job_id() for _ in range(3)}
    for name in names:
        await blobs.put(name, b"x")
    assert names_in(folder) == names


async def test_an_object_is_not_there_before_it_is_whole(blobs: BlobStore, folder: Path) -> None:
    async def upload() -> None:
        async with blobs.writing("files/one") as writer:
            await writer.write(b"x" * CHUNK_BYTES)
            assert not (folder / "files" / "one").exists()
            raise RuntimeError("the client left")

    with pytest.raises(RuntimeError, match="left"):
        await upload()
    assert list((folder / "files").iterdir()) == []


async def test_a_cancelled_upload_leaves_nothing(blobs: BlobStore, folder: Path) -> None:
    began = asyncio.Event()

    async def upload() -> None:
        async with blobs.writing("files/one") as writer:
            await writer.write(b"x" * CHUNK_BYTES)
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(upload())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list((folder / "files").iterdir()) == []


async def test_written_in_pieces_and_read_in_pieces(blobs: BlobStore) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 5)
    async with blobs.writing("files/one") as writer:
        for start in range(0, len(data), 70_000):
            await writer.write(data[start : start + 70_000])
    assert writer.size_bytes == blobs.size("files/one") == len(data)
    chunks = [chunk async for chunk in blobs.chunks("files/one")]
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 5]
    assert b"".join(chunks) == data


@pytest.mark.parametrize(("offset", "length"), [(0, 3), (7, 0), (5, CHUNK_BYTES + 2), (CHUNK_BYTES, 10_000_000)])
async def test_a_stretch_of_an_object(blobs: BlobStore, offset: int, length: int) -> None:
    data = os.urandom(CHUNK_BYTES + 100)
    await blobs.put("files/one", data)
    read = b"".join([chunk async for chunk in blobs.chunks("files/one", offset, length)])
    assert read == data[offset : offset + length]


async def test_a_full_disk_is_refused_before_it_is_full(folder: Path) -> None:
    blobs = BlobStore(folder.as_uri(), reserve_gb=1e9)
    with pytest.raises(OSError, match="would be left") as full:
        await blobs.put("files/one", b"x")
    assert full.value.errno == errno.ENOSPC
    assert list((folder / "files").iterdir()) == []


async def test_what_is_not_there_cannot_be_had(blobs: BlobStore) -> None:
    with pytest.raises(FileNotFoundError):
        await blobs.get("job-1")


async def test_deleting_twice_is_deleting_once(blobs: BlobStore) -> None:
    await blobs.put("job-1", b"x")
    await blobs.delete("job-1")
    await blobs.delete("job-1")
    with pytest.raises(FileNotFoundError):
        await blobs.get("job-1")


async def test_everything_under_a_name_goes_with_it(blobs: BlobStore, folder: Path) -> None:
    for name in ("batches/a/1", "batches/a/deep/2", "batches/ab"):
        await blobs.put(name, b"x")
    await blobs.delete("batches/a")
    assert names_in(folder / "batches") == {"ab"}


async def test_two_who_delete_the_same_leave_nothing(
    blobs: BlobStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each finds that what it has just listed is gone."""
    for name in ("batches/a/1", "batches/a/2"):
        await blobs.put(name, b"x")
    remove, interrupted = blobs._fs.rm, []

    def rm(path: str, recursive: bool) -> None:
        if not interrupted:
            interrupted.append(path)
            (folder / "batches" / "a" / "1").unlink()
            raise FileNotFoundError("batches/a/1")
        remove(path, recursive=recursive)

    monkeypatch.setattr(blobs._fs, "rm", rm)
    await blobs.delete("batches/a")
    assert list((folder / "batches").iterdir()) == []


async def test_what_nobody_has_written_for_long(blobs: BlobStore, folder: Path) -> None:
    for name in ("requests/old", "files/half.1234.part", "files/new"):
        await blobs.put(name, b"x")
    for name in ("requests/old", "files/half.1234.part"):
        age(folder / name, by_s=100)
    assert sorted(await blobs.older_than(60)) == ["files/half.1234.part", "requests/old"]


async def test_a_store_that_was_never_used_holds_nothing(blobs: BlobStore) -> None:
    assert await blobs.older_than(60) == []


async def test_an_object_that_goes_during_the_search_is_no_error(
    blobs: BlobStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        await blobs.put(name, b"x")
        age(folder / name, by_s=100)
    listed = blobs._fs.find

    def find(*arguments: Any, **options: Any) -> Any:
        found = listed(*arguments, **options)
        (folder / "first").unlink()
        return found

    monkeypatch.setattr(blobs._fs, "find", find)
    assert await blobs.older_than(60) == ["second"]


async def test_any_fsspec_url_will_do() -> None:
    blobs = BlobStore("memory://household/blobs")
    await blobs.put("job-1", b"x")
    assert await blobs.get("job-1") == b"x"
    assert [chunk async for chunk in blobs.chunks("job-1")] == [b"x"]
    assert await blobs.older_than(60) == []
    assert await blobs.older_than(-60) == ["job-1"]


def test_a_url_of_no_known_file_system_names_the_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"FAMILYAI_BLOB_URL.*nosuch"):
        BlobStore("nosuch://bucket")
