"""Requests under a route's name, over the real broker: where they go, what their answers say of it, and what changes
when workers die, lines are long, or a member may not use what would be best."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from familyai import cancel, keys
from familyai.allowance import Role
from familyai.catalogue import Profile
from familyai.members import Change
from tests.api.support import ScriptedWorker, Served
from tests.routing.household import QUEUES, household
from tests.support import a_job

CHAT = "/v1/chat/completions"
CODE = "Fix this Python function:\n```python\ndef f(x):\n    return x / 0\n```\nZeroDivisionError"
TALK = "What should I cook for my family tonight? Give me some ideas with chicken and rice, not too spicy please"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.fixture
def profile() -> Profile:
    return household(vision={"context_tokens": 8000})


@pytest.fixture
async def workers(redis: Redis) -> AsyncIterator[dict[str, ScriptedWorker]]:
    """One for each queue; a test ends the lives that it wants to be without."""
    made = {queue: ScriptedWorker(redis, queue, f"worker-{queue}") for queue in QUEUES}
    for worker in made.values():
        await worker.beat()
        worker.life = asyncio.create_task(worker.live())
    yield made
    for worker in made.values():
        assert worker.life
        worker.life.cancel()


def body(text: Any = CODE, model: str = "auto", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def dies(worker: ScriptedWorker, served: Served) -> None:
    assert worker.life
    await cancel.end([worker.life])
    await worker.registry.leave(worker.queue, worker.id)
    served.front.router.forget()


@asynccontextmanager
async def answered(served: Served, worker: ScriptedWorker, asked: dict[str, Any], **headers: str) -> AsyncIterator[Any]:
    """The response to a request that this worker answered."""
    posting = asyncio.create_task(served.client.post(CHAT, json=asked, headers=headers))
    async with AsyncExitStack() as stack:
        stack.callback(posting.cancel)
        claim = await worker.take()
        await worker.answer(claim, json.dumps({"model": claim.job.model}).encode())
        response = await posting
        assert response.status_code == 200
        yield response


def watched(work: str, on_the_loop: dict[str, bool]) -> Callable[..., Any]:
    """The same function, which tells where it was run."""
    module, _, name = f"api.{work}".rpartition(".")
    original = getattr(import_module(module), name)

    def run(*args: Any, **more: Any) -> Any:
        on_the_loop[work] = threading.current_thread() is threading.main_thread()
        return original(*args, **more)

    return run


async def explained(served: Served, asked: dict[str, Any], **headers: str) -> dict[str, Any]:
    response = await served.client.post("/v1/route", json=asked, headers=headers)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


@pytest.mark.parametrize("model", ["auto", "gpt-4o", "auto:code"])
async def test_an_answer_says_which_way_it_came(served: Served, workers: dict[str, ScriptedWorker], model: str) -> None:
    async with answered(served, workers["code-traditional"], body(model=model)) as response:
        assert response.headers["x-familyai-queue"] == "code-traditional"
        assert response.headers["x-familyai-model"] == "org/code-traditional"
        assert response.headers["x-familyai-route"].startswith("code-traditional;confidence=")
    counted = served.front.metrics.routes.labels("code-traditional", "code-traditional")
    assert counted._value.get() == 1


async def test_a_model_that_is_named_says_so(served: Served, workers: dict[str, ScriptedWorker]) -> None:
    async with answered(served, workers["chat-lightweight"], body(model="small")) as response:
        route = 'named;confidence=1.00;reason="this name means chat-lightweight"'
        assert response.headers["x-familyai-route"] == route


async def test_without_its_worker_the_next_one_serves_and_the_answer_says_so(
    served: Served, workers: dict[str, ScriptedWorker]
) -> None:
    await dies(workers["code-traditional"], served)
    async with answered(served, workers["code-agentic"], body()) as response:
        assert response.headers["x-familyai-queue"] == "code-agentic"
        assert "code-traditional has no worker, so code-agentic answers" in response.headers["x-familyai-route"]


async def test_a_model_that_is_named_is_waited_for(
    served: Served, workers: dict[str, ScriptedWorker], redis: Redis
) -> None:
    await dies(workers["code-traditional"], served)
    posting = asyncio.create_task(served.client.post(CHAT, json=body(model="code-traditional")))
    assert await workers["code-traditional"].pop() is not None
    posting.cancel()


async def long_line(served: Served, redis: Redis, queue: str) -> None:
    """Others wait there for longer than anybody would."""
    for number in range(12):
        await served.front.jobs.enqueue(a_job(id=f"{queue}-{number}", queue=queue, member="ben", cost=1000.0))
    await redis.hset(keys.pace(queue), mapping={"busy_s": 1000, "cost": 1000})


async def test_what_cannot_begin_in_time_is_served_by_the_next(
    served: Served, workers: dict[str, ScriptedWorker], redis: Redis
) -> None:
    await long_line(served, redis, "code-traditional")
    asked = {"X-FamilyAI-Deadline-S": "5"}
    async with answered(served, workers["code-agentic"], body(), **asked) as response:
        assert "code-traditional cannot begin in time, so code-agentic answers" in response.headers["x-familyai-route"]


async def test_a_model_that_is_named_and_cannot_begin_in_time_is_refused(
    served: Served, workers: dict[str, ScriptedWorker], redis: Redis
) -> None:
    await long_line(served, redis, "code-traditional")
    asked = body(model="code-traditional")
    response = await served.client.post(CHAT, json=asked, headers={"X-FamilyAI-Deadline-S": "5"})
    assert (response.status_code, response.json()["error"]["code"]) == (429, "deadline")


async def test_where_nobody_can_begin_in_time_the_best_refuses(
    served: Served, workers: dict[str, ScriptedWorker], redis: Redis
) -> None:
    for queue in QUEUES:
        await long_line(served, redis, queue)
    response = await served.client.post(CHAT, json=body(), headers={"X-FamilyAI-Deadline-S": "5"})
    assert (response.status_code, response.json()["error"]["code"]) == (429, "deadline")


async def test_a_conversation_stays_with_whom_answered_it(served: Served, workers: dict[str, ScriptedWorker]) -> None:
    """Its model was away when it began; that it is back is no reason to change."""
    await dies(workers["chat-fast"], served)
    async with answered(served, workers["chat-reasoning"], body(TALK)):
        pass
    await workers["chat-fast"].beat()
    served.front.router.forget()
    said = [("user", TALK), ("assistant", "Chicken pilaf!"), ("user", "and what goes with it for dessert?")]
    asked = {"model": "auto", "messages": [{"role": role, "content": text} for role, text in said]}
    async with answered(served, workers["chat-reasoning"], asked) as response:
        assert "the conversation stays with chat-reasoning" in response.headers["x-familyai-route"]
    anew = {"model": "auto", "messages": [{"role": "user", "content": TALK + "!"}]}
    assert (await explained(served, anew))["queue"] == "chat-fast"


async def test_a_conversation_is_its_members_own(served: Served, workers: dict[str, ScriptedWorker]) -> None:
    await dies(workers["chat-fast"], served)
    async with answered(served, workers["chat-reasoning"], body(TALK)):
        pass
    await workers["chat-fast"].beat()
    served.front.router.forget()
    _, key = await served.front.members.add("ben", Role.ADULT)
    said = [("user", TALK), ("assistant", "Chicken pilaf!"), ("user", "and what goes with it for dessert?")]
    asked = {"model": "auto", "messages": [{"role": role, "content": text} for role, text in said]}
    assert (await explained(served, asked, Authorization=f"Bearer {key}"))["queue"] == "chat-fast"


async def test_whoever_may_not_use_the_best_gets_the_next(served: Served, workers: dict[str, ScriptedWorker]) -> None:
    await served.front.members.change("ada", Change(own={"models": ["chat-fast", "chat-lightweight"]}))
    async with answered(served, workers["chat-fast"], body()) as response:
        assert "code-traditional is not yours to use" in response.headers["x-familyai-route"]
    refused = await served.client.post(CHAT, json=body([IMAGE]))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")


async def test_an_image_goes_to_whom_sees_it(served: Served, workers: dict[str, ScriptedWorker]) -> None:
    async with answered(served, workers["vision"], body([{"type": "text", "text": CODE}, IMAGE])) as response:
        assert response.headers["x-familyai-route"] == 'vision;confidence=1.00;reason="an image"'


async def test_a_model_that_sees_no_images_refuses_one_in_words(
    served: Served, workers: dict[str, ScriptedWorker]
) -> None:
    response = await served.client.post(CHAT, json=body([IMAGE], model="chat-fast"))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "image_not_supported")
    assert error["message"] == "'chat-fast' sees no images; these do: vision"


class TestExplained:
    async def test_everything_is_told_and_nothing_is_run(
        self, served: Served, workers: dict[str, ScriptedWorker], redis: Redis
    ) -> None:
        told = await explained(served, body())

        assert (told["queue"], told["kind"]) == ("code-traditional", "code-traditional")
        assert told["model"] == "org/code-traditional"
        assert 0.5 < told["confidence"] <= 1
        assert told["fallbacks"] == ["code-agentic", "chat-fast"]
        assert told["reason"]
        assert {"name", "weight"} == set(told["signals"][0])
        assert await served.front.jobs.waiting("code-traditional") == 0
        assert [key async for key in redis.scan_iter("familyai:route:*")] == []

    @pytest.mark.parametrize("model", [{}, {"model": None}])
    async def test_without_a_model_it_means_auto(self, served: Served, model: dict[str, Any]) -> None:
        told = await explained(served, model | {"messages": [{"role": "user", "content": CODE}]})
        assert told["kind"] == "code-traditional"

    @pytest.mark.parametrize(
        "asked",
        [
            {"input": CODE},
            {"prompt": CODE},
            {"system": "Be brief.", "messages": [{"role": "user", "content": [{"type": "text", "text": CODE}]}]},
        ],
    )
    async def test_any_shape_of_request(self, served: Served, asked: dict[str, Any]) -> None:
        assert (await explained(served, asked))["kind"] == "code-traditional"

    async def test_what_is_preferred(self, served: Served) -> None:
        fast = await explained(served, body(TALK), **{"X-FamilyAI-Prefer": "speed"})
        best = await explained(served, body(TALK), **{"X-FamilyAI-Prefer": "Quality"})
        assert (fast["queue"], best["queue"]) == ("chat-lightweight", "chat-reasoning")
        assert best["reason"].startswith("quality is preferred")

    async def test_a_preference_that_is_none(self, served: Served) -> None:
        response = await served.client.post("/v1/route", json=body(), headers={"X-FamilyAI-Prefer": "best"})
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, "X-FamilyAI-Prefer")
        assert "speed, quality" in error["message"]

    @pytest.mark.parametrize(
        ("asked", "status"), [(body(model="gpt-99"), 404), (body(model=""), 400), (body(model="chat-fast"), 200)]
    )
    async def test_names(self, served: Served, asked: dict[str, Any], status: int) -> None:
        assert (await served.client.post("/v1/route", json=asked)).status_code == status

    async def test_no_key_no_answer(self, served: Served) -> None:
        async with httpx.AsyncClient(base_url=served.url, trust_env=False) as stranger:
            assert (await stranger.post("/v1/route", json=body())).status_code == 401


async def test_a_large_request_is_read_and_decided_beside_the_loop(
    served: Served, workers: dict[str, ScriptedWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_loop: dict[str, bool] = {}
    for work in ("choose.read", "choose.decide", "choose.talk_now", "choose.talk_before", "route.read"):
        monkeypatch.setattr(f"api.{work}", watched(work, on_the_loop))
    asked = body("def f(x):\n    return x + 1\n\n" * 12_000, max_tokens=1)
    told = await explained(served, asked)
    async with answered(served, workers[told["queue"]], asked):
        pass
    assert on_the_loop == dict.fromkeys(on_the_loop, False)
    assert len(on_the_loop) == 5


async def test_whoever_asks_while_it_is_looked_who_is_alive_hears_the_same(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    router, looks, done = served.front.router, [], asyncio.Event()

    async def alive(queues: list[str]) -> dict[str, set[str]]:
        looks.append(queues)
        await done.wait()
        return {"chat-fast": {"worker"}, "vision": set()}

    monkeypatch.setattr(router._registry, "alive", alive)
    router.forget()
    asking = [asyncio.create_task(router.alive()) for _ in range(3)]
    await asyncio.sleep(0)
    asking.pop(0).cancel()
    done.set()
    assert await asyncio.gather(*asking) == [{"chat-fast"}] * 2
    assert len(looks) == 1


async def test_a_large_request_that_is_too_long(served: Served, workers: dict[str, ScriptedWorker]) -> None:
    told = await explained(served, body("def f(x):\n    return x + 1\n\n" * 12_000))
    assert told["kind"] == "code-agentic"
    assert told["reason"].endswith("; it may be too long for every model of this household")
