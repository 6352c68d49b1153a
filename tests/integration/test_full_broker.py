"""A broker that may take no more (`maxmemory`, noeviction): nobody dies of it, and what waits is served afterwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess, front_client
from tests.integration.household import until
from tests.support import Broker, wait_until

QUEUE = {"model": "familyai/echo", "engine": "echo", "memory_gb": 0.1, "slots": 2, "reserve_slots": 0}
JOBS = 10
CONNECTS_ANEW = "Connection to broker lost"


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Of a household with two places."""
    catalogue = tmp_path / "small.yaml"
    profile = {"memory_budget_gb": 1, "queues": {"chat-fast": QUEUE}}
    catalogue.write_bytes(orjson.dumps({"profiles": {"echo": profile}}))
    return environment | {"FAMILYAI_CATALOGUE": str(catalogue)}


@pytest.fixture
async def client(
    start_process: StartProcess, worker: Process, members: MemberStore
) -> AsyncIterator[httpx.AsyncClient]:
    async with front_client(start_process, members) as made:
        yield made


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "chat-fast", "messages": [{"role": "user", "content": text}], **more}


async def test_who_waits_is_served_when_there_is_room_again(
    client: httpx.AsyncClient, worker: Process, broker: Broker, redis: Redis
) -> None:
    owner = Redis.from_url(broker.url)
    body = chat("one two", echo={"delay_s": 3})
    asking = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(JOBS)]

    async def some_run_and_others_wait() -> bool:
        return await redis.hlen(keys.running("chat-fast")) > 0 and await redis.hlen(keys.backlog("chat-fast")) > 2

    await until(some_run_and_others_wait, "some run, and others wait")
    try:
        await owner.config_set("maxmemory", 1)
        refused = await client.post("/v1/chat/completions", json=chat("no room"))
        wait_until(lambda: CONNECTS_ANEW in worker.log.read_text(), "the worker was refused, too")
    finally:
        await owner.config_set("maxmemory", 0)
        await owner.aclose()
    answers = await asyncio.gather(*asking)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "broker_down")
    assert [answer.status_code for answer in answers] == [200] * JOBS
    assert worker.popen.poll() is None
