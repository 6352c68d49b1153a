"""What is too large for the broker waits in the blob store."""

import asyncio
import gc
import tracemalloc
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from familyai.blobs import BlobStore
from familyai.job import own_blob
from familyai.settings import Settings
from tests.api.support import ScriptedWorker, Served, until


async def test_a_large_body_travels_through_the_blob_store(
    served: Served, worker: ScriptedWorker, settings: Settings
) -> None:
    asking = asyncio.create_task(served.chat(text="x" * 200_000))
    claim = await worker.take()
    blobs = BlobStore(settings.blobs)

    assert claim.job.body == b""
    assert claim.job.blob is not None
    assert claim.job.blob.length == claim.job.body_bytes
    assert orjson.loads(await blobs.get(claim.job.blob.name)) == {"model": "org/chat", "text": "x" * 200_000}
    await worker.answer(claim, b"{}")
    assert (await asking).status_code == 200


async def test_what_waits_in_the_store_waits_in_no_memory(served: Served, worker: ScriptedWorker) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        asking = [asyncio.create_task(served.chat(padding="x" * 400_000)) for _ in range(20)]
        claims = [await worker.take() for _ in asking]
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    for claim in claims:
        await worker.answer(claim, b"{}")
    assert [response.status_code for response in await asyncio.gather(*asking)] == [200] * 20
    assert kept < 20 * 400_000 * 4, "the clients live here, too"


async def test_a_large_body_that_nobody_runs_is_dropped(
    served: Served, worker: ScriptedWorker, settings: Settings
) -> None:
    asking = asyncio.create_task(served.chat(text="x" * 200_000))
    delivery = await worker.next()
    job_id = delivery.job_id
    blobs = BlobStore(settings.blobs)
    assert await blobs.get(own_blob(job_id))
    asking.cancel()

    async def dropped() -> bool:
        try:
            await blobs.get(own_blob(job_id))
        except FileNotFoundError:
            return True
        return False

    await until(dropped, "the blob is gone")


async def test_a_store_without_room_is_a_503(served: Served, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(served.front.blobs, "put", full)
    response = await served.chat(text="x" * 200_000)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "blob_store_down")
    assert await redis.llen("chat") == 0


# --- the engine fails ---
