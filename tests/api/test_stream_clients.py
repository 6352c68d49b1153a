"""Streams with numbers and comments, as clients read them that are not ours."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest

import api.tell
from api.answer import Answer
from familyai.frame import Failed
from tests.api.support import LIMIT_S, SSE, ScriptedWorker, Served, until

Begin = Callable[[openai.AsyncOpenAI], Any]

ENDPOINTS: dict[str, tuple[Begin, bytes]] = {
    "chat": (
        lambda client: client.chat.completions.create(model="auto", messages=[], stream=True),
        b'data: {"choices": [], "id": "%d"}\n\n',
    ),
    "completions": (
        lambda client: client.completions.create(model="auto", prompt="x", stream=True),
        b'data: {"choices": [], "id": "%d"}\n\n',
    ),
    "responses": (
        lambda client: client.responses.create(model="auto", input="x", stream=True),
        b'event: response.output_text.delta\ndata: {"type": "response.output_text.delta", "item_id": "%d"}\n\n',
    ),
}


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as made:
        yield made


@pytest.fixture
def comments(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was said between events, in streams that say at once that they live."""
    said: list[bytes] = []
    comment = Answer.comment

    def noted(answer: Answer, words: bytes) -> Any:
        said.append(words)
        return comment(answer, words)

    monkeypatch.setattr(api.tell, "AT_LEAST_EVERY_S", 0.02)
    monkeypatch.setattr(Answer, "comment", noted)
    return said


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_openais_client_sees_the_events_only(
    client: openai.AsyncOpenAI, worker: ScriptedWorker, comments: list[bytes], endpoint: str
) -> None:
    begin, event = ENDPOINTS[endpoint]
    async with asyncio.timeout(LIMIT_S):
        asking = asyncio.create_task(begin(client))
        claim = await worker.take()
        await worker.start(claim)
        chunks = await asking
        for number in range(3):
            await worker.write(claim, event % number)
            chunk = await anext(chunks)
            assert chunk.model_dump()["item_id" if endpoint == "responses" else "id"] == str(number)
            comments.clear()
            await until(lambda: len(comments) > 1, "comments follow the event")
        await worker.write(claim, b"data: [DONE]\n\n")
        await worker.end(claim)
        assert [chunk async for chunk in chunks] == []


@pytest.mark.parametrize("half", [b"", b": keep-ali"])
async def test_openais_client_raises_what_a_numbered_stream_ends_with(
    client: openai.AsyncOpenAI, worker: ScriptedWorker, comments: list[bytes], half: bytes
) -> None:
    begin, event = ENDPOINTS["chat"]
    asking = asyncio.create_task(begin(client))
    claim = await worker.take()
    await worker.start(claim)
    await worker.write(claim, event % 1)
    chunks = await asking
    await until(lambda: len(comments) > 1, "comments follow the event")
    await worker.write(claim, half)
    await worker.say(claim, Failed(claim.job.id, 1, 3, "engine_failed", "boom"))
    with pytest.raises(openai.APIError, match="boom"):
        _ = [chunk async for chunk in chunks]


async def test_openais_client_reads_on_over_an_engines_own_comments(
    client: openai.AsyncOpenAI, worker: ScriptedWorker
) -> None:
    begin, event = ENDPOINTS["chat"]
    asking = asyncio.create_task(begin(client))
    claim = await worker.take()
    await worker.answer(claim, event % 1, b": keep-alive\n\n", event % 2, headers=SSE)
    assert [chunk.id async for chunk in await asking] == ["1", "2"]
