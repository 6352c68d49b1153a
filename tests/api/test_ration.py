"""Through every endpoint that models answer: what a member with limits may not have never reaches an engine."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from msgspec.structs import replace

from api.choose import Asked, choose
from api.work.batch_lines import line_job
from familyai.allowance import Role
from familyai.errors import BadRequest
from familyai.members import Change
from tests.api.batching import Answering, a_line, begun, jsonl
from tests.api.support import ScriptedWorker, Served, until
from tests.api.work.test_batch_lines import BATCH

LIMIT = 1000
PROMPTS: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Hi"}],
    "prompt": "Hi",
    "input": "Hi",
}
BOUNDED = {
    "/v1/chat/completions": "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/responses": "max_output_tokens",
    "/v1/messages": "max_tokens",
    "/v1/messages/count_tokens": None,
}


@pytest.fixture
async def leo(served: Served) -> dict[str, str]:
    """The headers of a child who may have a thousand tokens a minute, and two answers at once."""
    change = Change(own={"tokens_per_minute": LIMIT, "running": 2})
    _, key = await served.front.members.add("leo", Role.CHILD, change)
    return {"Authorization": f"Bearer {key}"}


async def sent(
    served: Served, worker: ScriptedWorker, path: str, headers: dict[str, str], **asked: Any
) -> tuple[dict[str, Any], int]:
    """The body that reaches the engine, and the tokens that are held back for it."""
    async with served.client.stream("POST", path, json=PROMPTS | asked | {"stream": True}, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        job = (await worker.take()).job
    body: dict[str, Any] = json.loads(job.body)
    return body, job.tokens


def test_every_endpoint_that_generates_is_known_here(served: Served) -> None:
    described = served.app.openapi()["paths"].items()
    generating = {path for path, item in described if set(item.get("post", {}).get("tags", ())) & {"chat", "anthropic"}}
    assert generating == set(BOUNDED)


@pytest.mark.parametrize("path", [path for path, name in BOUNDED.items() if name])
async def test_an_endless_answer_is_bounded(
    served: Served, worker: ScriptedWorker, leo: dict[str, str], path: str
) -> None:
    name = str(BOUNDED[path])
    body, tokens = await sent(served, worker, path, leo, **{name: 10**6}, min_tokens=10**6, ignore_eos=True)
    assert 0 < body[name] < LIMIT
    assert body[name] < tokens <= LIMIT
    body, _ = await sent(served, worker, path, {}, **{name: 10**6})
    assert body[name] == 10**6, "who has no limit is bounded too"


async def test_counting_tokens_holds_back_only_what_is_counted(served: Served, leo: dict[str, str]) -> None:
    body, member = PROMPTS | {"max_tokens": 10**6}, await served.front.members.get("leo")
    path = "/v1/messages/count_tokens"
    job, _ = await choose(served.front, Asked(path, member, body))
    assert json.loads(job.body)["max_tokens"] == 10**6
    assert job.tokens < 10


def refusal(response: httpx.Response) -> tuple[str, str]:
    assert response.status_code == 400
    error = response.json()["error"]
    return error["code"], error["param"]


async def test_what_waiting_would_not_help_is_refused_at_once(served: Served, leo: dict[str, str]) -> None:
    for path, asked, refused in (
        ("/v1/chat/completions", {"n": 3}, ("too_wide", "n")),
        ("/v1/completions", {"prompt": ["Hi"] * 3}, ("too_wide", "prompt")),
        ("/v1/embeddings", {"model": "vectors", "input": ["Hi"] * 65}, ("too_wide", "input")),
        ("/v1/embeddings", {"model": "vectors", "input": "7" * 1250}, ("too_long_for_limit", "input")),
        ("/v1/chat/completions", {"messages": [{"content": "7" * 1000}]}, ("too_long_for_limit", "messages")),
    ):
        response = await served.client.post(path, json={"model": "auto"} | asked, headers=leo)
        assert refusal(response) == refused


async def test_the_lines_of_a_batch_are_rationed_too(served: Served, leo: dict[str, str]) -> None:
    batch, body = replace(BATCH, member="leo"), {"messages": PROMPTS["messages"]}
    job = await line_job(served.front, batch, {"model": "auto", "max_tokens": 10**6, **body})
    assert json.loads(job.body)["max_tokens"] < job.tokens <= LIMIT
    with pytest.raises(BadRequest) as raised:
        await line_job(served.front, batch, {"model": "auto", "n": 3, **body})
    assert raised.value.code == "too_wide"


async def test_a_batch_never_locks_its_member_out(served: Served, worker: ScriptedWorker) -> None:
    _, key = await served.front.members.add("mia", Role.CHILD, Change(own={"requests_per_minute": 6}))
    mia = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)
    answering = Answering(worker)
    running = asyncio.create_task(answering.run())
    await begun(mia, jsonl(*[a_line(f"line-{number}", messages=PROMPTS["messages"]) for number in range(20)]))
    await until(lambda: len(answering.asked) == 3, "half of the requests went to the batch")
    for _ in range(3):
        await mia.chat.completions.create(model="auto", messages=PROMPTS["messages"])
    assert len(answering.asked) == 6
    with pytest.raises(openai.RateLimitError):
        await mia.chat.completions.create(model="auto", messages=PROMPTS["messages"])
    running.cancel()


async def test_an_answer_ends_where_the_limit_does(served: Served, worker: ScriptedWorker) -> None:
    """As a chat UI asks: without a length, or for more than is left."""
    front = served.front
    await front.members.change("ada", Change(own={"tokens_per_day": 1000}))
    for asked in ({}, {"max_tokens": 900}):
        asking = asyncio.create_task(served.chat(messages=[{"role": "user", "content": "Hi"}], **asked))
        claim = await worker.take()
        left = json.loads(claim.job.body)["max_tokens"]
        await worker.answer(claim, b"{}")
        assert (await asking).status_code == 200
        await front.gate._windows.charge("ada", 300)
        await front.gate.leave("ada", claim.job.id)
        assert left <= 1000
    assert left <= 700


async def test_what_is_only_held_back_is_soon_theirs_again(served: Served, worker: ScriptedWorker) -> None:
    await served.front.members.change("ada", Change(own={"tokens_per_day": 1000}))
    asking = asyncio.create_task(served.chat(messages=[{"role": "user", "content": "Hi"}]))
    claim = await worker.take()
    refused = await served.chat(messages=[{"role": "user", "content": "And?"}])
    assert refused.json()["error"]["code"] == "tokens_per_day"
    assert int(refused.headers["retry-after"]) <= 600
    await worker.answer(claim, b"{}")
    assert (await asking).status_code == 200
