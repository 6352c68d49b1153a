"""Large bodies come back as they were, appear whole, and do not outlive their jobs for long."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from familyai.blobs import BlobStore
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


async def test_an_object_is_not_there_before_it_is_whole(
    blobs: BlobStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, data: bytes) -> None:
        Path(path).write_bytes(data[:3])
        raise OSError(28, "No space left on device")

    await blobs.put("job-0", b"makes the folder")
    monkeypatch.setattr(blobs._fs, "pipe_file", full)
    with pytest.raises(OSError, match="No space"):
        await blobs.put("job-1", b"whole")
    with pytest.raises(FileNotFoundError):
        await blobs.get("job-1")


async def test_what_is_not_there_cannot_be_had(blobs: BlobStore) -> None:
    with pytest.raises(FileNotFoundError):
        await blobs.get("job-1")


async def test_deleting_twice_is_deleting_once(blobs: BlobStore) -> None:
    await blobs.put("job-1", b"x")
    await blobs.delete("job-1")
    await blobs.delete("job-1")
    with pytest.raises(FileNotFoundError):
        await blobs.get("job-1")


async def test_what_a_crash_left_is_cleared_away(blobs: BlobStore, folder: Path) -> None:
    for name in ("old", "half.part", "new"):
        await blobs.put(name, b"x")
    for name in ("old", "half.part"):
        age(folder / name, by_s=100)
    assert await blobs.delete_older_than(60) == 2
    assert names_in(folder) == {"new"}


async def test_clearing_a_store_that_was_never_used(blobs: BlobStore) -> None:
    assert await blobs.delete_older_than(60) == 0


async def test_an_object_that_goes_during_the_clearing_is_no_error(
    blobs: BlobStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        await blobs.put(name, b"x")
        age(folder / name, by_s=100)
    listed = blobs._fs.ls

    def ls(*arguments: Any, **options: Any) -> Any:
        found = listed(*arguments, **options)
        (folder / "first").unlink()
        return found

    monkeypatch.setattr(blobs._fs, "ls", ls)
    assert await blobs.delete_older_than(60) == 1


async def test_any_fsspec_url_will_do() -> None:
    blobs = BlobStore("memory://household/blobs")
    await blobs.put("job-1", b"x")
    assert await blobs.get("job-1") == b"x"
    assert await blobs.delete_older_than(60) == 0
    assert await blobs.delete_older_than(-60) == 1


def test_a_url_of_no_known_file_system_names_the_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"FAMILYAI_BLOB_URL.*nosuch"):
        BlobStore("nosuch://bucket")
