import io
import os
import time
import zipfile
from pathlib import Path

import pytest

from api.archive import archive
from familyai.blobs import CHUNK_BYTES, BlobStore

NOW_S = 1.8e9


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path.as_uri())


async def test_an_archive_that_others_open(blobs: BlobStore) -> None:
    large = bytes(range(256)) * 10_000
    await blobs.put("a", b"one")
    await blobs.put("b", large)
    pieces = list(
        archive(blobs, [("Übung.txt", "a"), ("gone.txt", "nowhere"), ("b.json", "b"), ("empty.srt", "a")], NOW_S)
    )
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["Übung.txt", "b.json", "empty.srt"]
        assert opened.read("Übung.txt") == b"one"
        assert opened.read("b.json") == large
        assert opened.getinfo("b.json").date_time == time.localtime(NOW_S)[:6]
        assert opened.getinfo("b.json").external_attr >> 16 == 0o644
    assert b"".join(archive(blobs, [("a", "a")], NOW_S)) == b"".join(archive(blobs, [("a", "a")], NOW_S))


async def test_it_is_sent_while_it_is_written(blobs: BlobStore) -> None:
    await blobs.put("a", os.urandom(3 * CHUNK_BYTES))
    assert max(map(len, archive(blobs, [("a", "a")], NOW_S))) < 2 * CHUNK_BYTES


def test_nothing_is_an_archive_too(blobs: BlobStore) -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(archive(blobs, [], NOW_S)))) as opened:
        assert opened.namelist() == []
