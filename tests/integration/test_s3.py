"""The blob store on an S3-compatible server, over HTTP: what holds for a folder holds there."""

import os
from collections.abc import AsyncIterator, Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from familyai.blobs import CHUNK_BYTES, BlobStore


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The server's address. The way to it is told in the variables that every S3 client reads."""
    serving = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    serving.start()
    host, port = serving.get_host_and_port()
    url = f"http://{host}:{port}"
    way = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**way, "AWS_DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="household")
        yield url
    serving.stop()


@pytest.fixture
async def blobs(server: str) -> AsyncIterator[BlobStore]:
    made = BlobStore("s3://household/blobs")
    yield made
    for name in await made.older_than(-60):
        await made.delete(name)


async def test_large_objects_come_back_whole_and_in_stretches(blobs: BlobStore) -> None:
    data = os.urandom(12 * CHUNK_BYTES + 7)
    async with blobs.writing("files/one") as writer:
        for start in range(0, len(data), 300_000):
            await writer.write(data[start : start + 300_000])
    assert blobs.size("files/one") == len(data)
    assert b"".join([chunk async for chunk in blobs.chunks("files/one")]) == data
    stretch = b"".join([chunk async for chunk in blobs.chunks("files/one", 5_000_000, CHUNK_BYTES + 1)])
    assert stretch == data[5_000_000:6_000_001]


@pytest.mark.parametrize("size", [0, 10, 12 * CHUNK_BYTES])
async def test_what_was_not_finished_never_was(blobs: BlobStore, size: int) -> None:
    async def leave() -> None:
        async with blobs.writing("files/half") as writer:
            await writer.write(bytes(size))
            raise ConnectionError("the client left")

    with pytest.raises(ConnectionError):
        await leave()
    with pytest.raises(FileNotFoundError):
        await blobs.get("files/half")
    assert await blobs.older_than(-60) == []


async def test_an_empty_object(blobs: BlobStore) -> None:
    async with blobs.writing("files/empty"):
        pass
    assert await blobs.get("files/empty") == b""
    assert [chunk async for chunk in blobs.chunks("files/empty")] == []


async def test_everything_under_a_name_goes_with_it(blobs: BlobStore) -> None:
    for name in ("batches/a/1", "batches/a/2", "batches/b/1"):
        await blobs.put(name, b"x")
    await blobs.delete("batches/a")
    await blobs.delete("batches/never-was")
    assert await blobs.older_than(-60) == ["batches/b/1"]
    assert await blobs.older_than(60) == []


async def test_what_another_process_writes_is_seen_at_once(blobs: BlobStore) -> None:
    """Though this one has listed the store before: its sweeper does so once a minute."""
    await blobs.put("files/one", b"x")
    assert await blobs.older_than(-60) == ["files/one"]
    bucket = boto3.resource("s3").Bucket("household")
    bucket.put_object(Key="blobs/files/one", Body=b"longer")
    bucket.put_object(Key="blobs/files/two", Body=b"xy")
    assert (blobs.size("files/one"), blobs.size("files/two")) == (6, 2)
    assert [chunk async for chunk in blobs.chunks("files/two")] == [b"xy"]
