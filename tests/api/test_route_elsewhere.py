"""A route's name where there is nothing to choose, or for whom it is not: lists, counts, tasks, Anthropic's dialect."""

import asyncio
import json
from typing import Any

import pytest
from redis.asyncio import Redis

from familyai.allowance import Role
from familyai.catalogue import Profile
from familyai.members import Change
from tests.api.support import ScriptedWorker, Served
from tests.routing.household import household

HELLO: dict[str, Any] = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello!"}]}
PYTHON = "Write a Python function that sorts a list of dicts by a key"


@pytest.fixture
def profile() -> Profile:
    return household()


async def child(served: Served, *models: str) -> dict[str, str]:
    """The headers of one who may use only these."""
    _, key = await served.front.members.add("ben", Role.CHILD, Change(own={"models": models}))
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (("chat-lightweight",), ["auto", "gpt-4o", "small", "chat-lightweight"]),
        (("code-agentic",), ["auto", "auto:code", "gpt-4o", "code-agentic"]),
        (("ears",), ["ears"]),
    ],
)
async def test_a_route_is_listed_for_whom_it_can_serve(
    served: Served, models: tuple[str, ...], names: list[str]
) -> None:
    headers = await child(served, *models)
    cards = (await served.client.get("/v1/models", headers=headers)).json()["data"]
    assert [card["id"] for card in cards] == names
    assert all(card["resident"] is False for card in cards)


async def test_anthropics_client_is_refused_in_its_own_words(served: Served) -> None:
    asked = HELLO | {"messages": [{"role": "user", "content": PYTHON}]}
    response = await served.client.post("/v1/messages", json=asked, headers=await child(served, "ears"))
    assert response.status_code == 403
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == "permission_error"


async def test_counting_tokens_is_no_turn_of_a_conversation(served: Served, redis: Redis) -> None:
    worker = ScriptedWorker(redis, "chat-lightweight", "worker-1")
    await worker.beat()
    posting = asyncio.create_task(served.client.post("/v1/messages/count_tokens", json=HELLO))
    claim = await worker.take()
    await worker.answer(claim, json.dumps({"input_tokens": 3}).encode())
    assert (await posting).headers["x-familyai-route"].startswith("chat-lightweight;")
    assert [key async for key in redis.scan_iter("familyai:route:*")] == []


@pytest.mark.parametrize(
    ("path", "asked", "task"),
    [
        ("/v1/embeddings", {"model": "auto", "input": "Hello!"}, "embed"),
        ("/v1/audio/speech", {"model": "auto", "input": "Hello!", "voice": "alloy"}, "speak"),
    ],
)
async def test_what_no_model_can_do_is_refused(served: Served, path: str, asked: dict[str, Any], task: str) -> None:
    response = await served.client.post(path, json=asked)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "unsupported_task")
    assert error["message"].endswith(f"cannot {task}; no model of this household can")


async def test_no_model_of_a_household_without_a_voice_speaks(served: Served) -> None:
    response = await served.client.get("/v1/audio/models")
    assert (response.status_code, response.json()) == (200, {"models": []})


@pytest.mark.parametrize("path", ["/v1/route", "/v1/chat/completions", "/v1/messages", "/v1/audio/transcriptions"])
def test_what_can_be_said_beside_a_request_is_described(served: Served, path: str) -> None:
    parameters = served.app.openapi()["paths"][path]["post"]["parameters"]
    described = {parameter["name"]: parameter for parameter in parameters if parameter["in"] == "header"}
    stays = {"X-FamilyAI-Detach"} if path != "/v1/route" else set()
    assert described.keys() == {"X-FamilyAI-Priority", "X-FamilyAI-Deadline-S", "X-FamilyAI-Prefer"} | stays
    assert "speed, quality" in described["X-FamilyAI-Prefer"]["description"]
    assert not any(parameter["required"] for parameter in described.values())
