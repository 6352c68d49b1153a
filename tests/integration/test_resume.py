"""Clients that lost an answer and come back for it, at any front."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Role
from familyai.jobs import JobStore, State
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess
from tests.integration.household import until
from workers.engines.echo import expected_words

TEXT = "one naïve fox, 東京 🎉 and a dog"
WORDS = 30
DETACHED = {"x-familyai-detach": "true"}


@pytest.fixture
def fronts(start_process: StartProcess, worker: Process) -> list[Process]:
    return [start_process("api"), start_process("api")]


@pytest.fixture
async def clients(fronts: list[Process], members: MemberStore) -> AsyncIterator[list[httpx.AsyncClient]]:
    """The same member's, one of each front."""
    _, key = await members.add("anna", Role.ADULT)
    headers = {"authorization": f"Bearer {key}"}
    made = [httpx.AsyncClient(base_url=front.url, headers=headers, timeout=60) for front in fronts]
    yield made
    for client in made:
        await client.aclose()


def chat(**fields: Any) -> dict[str, Any]:
    body = {"model": "chat-fast", "messages": [{"role": "user", "content": TEXT}], "max_tokens": WORDS}
    return body | {"ignore_eos": True, "stream": True, "echo": {"tokens_per_s": 20}} | fields


async def begun(client: httpx.AsyncClient, events: int, **body: Any) -> tuple[str, bytes]:
    """A detached job, and the first of its events; then the client leaves."""
    received, seen = b"", 0
    async with client.stream("POST", "/v1/chat/completions", json=chat(**body), headers=DETACHED) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for line in reply.aiter_lines():
            if not line.startswith(":"):
                received += line.encode() + b"\n"
                seen += not line
            if seen == events:
                break
        return reply.headers["x-familyai-job-id"], received
    raise AssertionError("unreachable")


def without_comments(body: bytes) -> bytes:
    return b"".join(line for line in body.splitlines(keepends=True) if not line.startswith(b":"))


async def whole(client: httpx.AsyncClient, job_id: str, after: int = 0) -> bytes:
    headers = {"last-event-id": str(after)} if after else {}
    reply = await client.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-familyai-job-id"] == job_id
    return without_comments(reply.content)


def words_in(body: bytes) -> str:
    lines = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: ")]
    assert lines[-1] == b"[DONE]"
    deltas = [json.loads(line)["choices"] for line in lines[:-1]]
    return "".join(choice["delta"].get("content", "") for choices in deltas for choice in choices)


async def test_a_client_goes_on_at_another_front_where_it_left(clients: list[httpx.AsyncClient]) -> None:
    job_id, first = await begun(clients[0], 7)
    rest = await whole(clients[1], job_id, after=7)
    again = await whole(clients[0], job_id)

    assert first + rest == again
    assert words_in(again) == "".join(expected_words(TEXT, WORDS))
    assert rest.startswith(b"id: 8\n")


async def test_a_detached_job_survives_its_front_and_its_worker_together(
    clients: list[httpx.AsyncClient], fronts: list[Process], worker: Process, start_process: StartProcess
) -> None:
    job_id, first = await begun(clients[0], 5)
    for process in (fronts[0], worker):
        os.kill(process.popen.pid, signal.SIGKILL)
    await asyncio.to_thread(start_process, "workers", "chat-fast", "--port", "PORT")
    rest = await whole(clients[1], job_id, after=5)

    assert words_in(first + rest) == "".join(expected_words(TEXT, WORDS))
    assert rest.startswith(b"id: 6\n")


async def test_a_whole_answer_comes_whole_with_its_own_type(clients: list[httpx.AsyncClient], redis: Redis) -> None:
    asking = asyncio.create_task(
        clients[0].post("/v1/chat/completions", json=chat(stream=False, max_tokens=200), headers=DETACHED)
    )
    running: list[str] = []

    async def it_runs() -> bool:
        running[:] = [job_id.decode() for job_id in await redis.hkeys(keys.running("chat-fast"))]
        return bool(running)

    await until(it_runs, "it runs")
    asking.cancel()
    answer = await clients[1].get(f"/v1/jobs/{running[0]}/events")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["choices"][0]["message"]["content"] == "".join(expected_words(TEXT, 200))


async def test_who_did_not_ask_to_stay_is_taken_back_and_what_was_said_is_told(
    clients: list[httpx.AsyncClient], redis: Redis
) -> None:
    async with clients[0].stream("POST", "/v1/chat/completions", json=chat(max_tokens=1000)) as reply:
        job_id = reply.headers["x-familyai-job-id"]
        await anext(reply.aiter_lines())
    jobs = JobStore(redis, record_ttl_s=60)

    async def it_ended() -> bool:
        (record,) = await jobs.records([job_id])
        return record.state is State.CANCELLED

    await until(it_ended, "it was taken back")
    told = await clients[1].get(f"/v1/jobs/{job_id}/events")
    assert b'"code":"cancelled"' in told.content.replace(b" ", b"")
    assert b"[DONE]" not in told.content


async def test_nobody_else_reads_it_not_even_an_admin(
    clients: list[httpx.AsyncClient], members: MemberStore, fronts: list[Process]
) -> None:
    job_id, _ = await begun(clients[0], 3)
    _, key = await members.add("ben", Role.ADMIN)
    async with httpx.AsyncClient(base_url=fronts[0].url, headers={"authorization": f"Bearer {key}"}) as other:
        refused = await other.get(f"/v1/jobs/{job_id}/events")
        missing = await other.get("/v1/jobs/job-nobody/events")

    assert refused.status_code == missing.status_code == 404
    assert refused.json() == missing.json()
    await clients[0].delete(f"/v1/jobs/{job_id}")


async def test_what_is_over_is_not_kept_for_ever(clients: list[httpx.AsyncClient], redis: Redis) -> None:
    job_id, _ = await begun(clients[0], 3, max_tokens=5)
    await whole(clients[0], job_id)
    jobs = JobStore(redis, record_ttl_s=60)

    async def it_is_recorded() -> bool:
        (record,) = await jobs.records([job_id])
        return record.state is State.DONE

    await until(it_is_recorded, "its end is recorded")
    await redis.delete(keys.log(job_id))
    reply = await clients[0].get(f"/v1/jobs/{job_id}/events")

    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "answer_not_kept")


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30])
async def test_an_event_s_id_is_a_number(clients: list[httpx.AsyncClient], last: str) -> None:
    reply = await clients[0].get("/v1/jobs/job-1/events", headers={"last-event-id": last})

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "Last-Event-ID")
