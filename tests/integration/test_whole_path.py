"""Front and worker together: what a client sees, on good days and bad ones."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import httpx
import pytest

from familyai.allowance import Role
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess
from tests.support import Broker, status_of, wait_until
from workers.engines.echo import expected_words


@pytest.fixture
def front(start_process: StartProcess, worker: Process) -> Process:
    process = start_process("api")
    wait_until(lambda: status_of(f"{process.url}/health/ready") == 200, "the front is ready")
    return process


@pytest.fixture
async def client(front: Process, members: MemberStore) -> AsyncIterator[httpx.AsyncClient]:
    _, key = await members.add("anna", Role.ADULT)
    headers = {"authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=300)
    async with httpx.AsyncClient(base_url=front.url, headers=headers, timeout=60, limits=limits) as made:
        yield made


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


async def events(client: httpx.AsyncClient, body: dict[str, object]) -> AsyncIterator[str]:
    async with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for line in reply.aiter_lines():
            if line.startswith("data: "):
                yield line.removeprefix("data: ")


def text_of(received: list[str]) -> str:
    deltas = [json.loads(event) for event in received if event != "[DONE]"]
    return "".join(delta["choices"][0]["delta"].get("content", "") for delta in deltas if "choices" in delta)


def assert_broken(received: list[str], code: str) -> None:
    assert json.loads(received[-1])["error"]["code"] == code
    assert "[DONE]" not in received


async def test_many_streams_each_whole_and_their_own(client: httpx.AsyncClient) -> None:
    async def ask(number: int) -> None:
        text = f"number {number} says naïve 東京 🎉"
        received = [event async for event in events(client, chat(text, max_tokens=30, ignore_eos=True))]
        assert text_of(received) == "".join(expected_words(text, 30))
        assert received[-1] == "[DONE]"

    await asyncio.gather(*(ask(number) for number in range(150)))


async def test_more_requests_than_slots_wait_their_turn(client: httpx.AsyncClient) -> None:
    body = chat("one two", echo={"delay_s": 0.2})
    replies = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for _ in range(100)))
    assert {reply.status_code for reply in replies} == {200}
    assert any(int(reply.headers["x-familyai-queue-wait-ms"]) > 100 for reply in replies)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_fails_before_the_first_byte(client: httpx.AsyncClient, stream: bool) -> None:
    reply = await client.post("/v1/chat/completions", json=chat("a b", stream=stream, echo={"fail": "before"}))
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "engine_failed"


async def test_an_engine_that_fails_in_the_middle(client: httpx.AsyncClient) -> None:
    received = [event async for event in events(client, chat("a b c d", echo={"fail": "after:2"}))]
    assert text_of(received) == "a b "
    assert_broken(received, "engine_failed")


async def test_the_engines_own_refusal_passes_untouched(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/chat/completions", json=chat("a", max_tokens=-1))
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "max_tokens")


async def test_a_killed_broker_ends_streams_refuses_and_comes_back(
    impatient: None, client: httpx.AsyncClient, front: Process, broker: Broker
) -> None:
    received = []
    async for event in events(client, chat("word", max_tokens=10_000, ignore_eos=True, echo={"tokens_per_s": 20})):
        received.append(event)
        if len(received) == 3:
            broker.kill()
    assert_broken(received, "broker_down")
    refused = await client.post("/v1/chat/completions", json=chat("hello"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "broker_down")
    assert "retry-after" in refused.headers
    await asyncio.to_thread(broker.start)
    wait_until(lambda: status_of(f"{front.url}/health/ready") == 200, "ready by itself")
    answer = await client.post("/v1/chat/completions", json=chat("hello again"))
    assert answer.json()["choices"][0]["message"]["content"] == "hello again "


async def test_a_stopping_front_says_so_in_open_streams(
    impatient: None, client: httpx.AsyncClient, front: Process
) -> None:
    received = []
    async for event in events(client, chat("word", max_tokens=10_000, ignore_eos=True, echo={"tokens_per_s": 20})):
        received.append(event)
        if len(received) == 3:
            front.popen.send_signal(signal.SIGTERM)
    assert_broken(received, "stopping")
    assert await asyncio.to_thread(front.popen.wait, 20) in (0, -signal.SIGTERM)


async def test_a_killed_front_frees_the_slot_once_it_is_started_again(
    client: httpx.AsyncClient, front: Process, worker: Process, start_process: StartProcess
) -> None:
    async def read() -> None:
        async for _ in events(client, chat("word", max_tokens=10_000, ignore_eos=True, echo={"tokens_per_s": 20})):
            os.kill(front.popen.pid, signal.SIGKILL)

    with pytest.raises(httpx.HTTPError):
        await read()
    start_process("api")
    wait_until(lambda: httpx.get(f"{worker.url}/health", timeout=30).json()["running"] == 0, "nothing runs")


async def test_a_worker_that_comes_late_is_waited_for(
    client: httpx.AsyncClient, worker: Process, start_process: StartProcess
) -> None:
    worker.popen.send_signal(signal.SIGTERM)
    await asyncio.to_thread(worker.popen.wait, 20)
    asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat("patience")))
    await asyncio.to_thread(start_process, "workers", "chat-fast", "--port", "PORT")
    assert (await asked).status_code == 200


async def test_a_large_request_takes_the_way_of_the_blob_store(client: httpx.AsyncClient) -> None:
    text = " ".join(str(number) for number in range(400_000))
    reply = await client.post("/v1/chat/completions", json=chat(text, max_tokens=3))
    assert reply.json()["choices"][0]["message"]["content"] == "0 1 2 "
