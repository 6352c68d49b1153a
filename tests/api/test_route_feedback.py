"""Marks on the router's choices: whose they are, what is kept for them, and that nothing is where nobody wished it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisLost

from familyai import keys
from familyai.allowance import Role
from familyai.catalogue import Profile
from familyai.feedback import FeedbackStore, Marked
from familyai.members import Change
from tests.api.support import LIMIT_S, PROFILE, SSE, ScriptedWorker, Served

ROUTED: dict[str, Any] = PROFILE | {
    "learn": True,
    "queues": PROFILE["queues"] | {"chat": PROFILE["queues"]["chat"] | {"context_tokens": 1_000_000}},
    "aliases": {"gpt-4o-mini": "auto:speed"},
    "kinds": {
        kind: ["chat"]
        for kind in ("code-traditional", "code-agentic", "chat-lightweight", "chat-fast", "chat-reasoning", "side-task")
    },
    "routes": {"auto": {}, "auto:speed": {"prefer": "speed"}},
}
SECRET = "How do I tell my sister that her marmalade cake tastes of soap?"
ASKED: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": SECRET}], "user": "u-7"}


@pytest.fixture
def profile() -> Profile:
    return Profile.model_validate(ROUTED)


@pytest.fixture
async def clients(served: Served) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """`ada` asks; `eve` is somebody else; `mum` an admin; `webui` a trusted key."""
    roles = {"eve": (Role.ADULT, Change()), "mum": (Role.ADMIN, Change()), "webui": (Role.ADULT, Change(trusted=True))}
    made = {"ada": served.client}
    async with AsyncExitStack() as stack:
        for name, (role, change) in roles.items():
            _, key = await served.front.members.add(name, role, change)
            client = httpx.AsyncClient(
                base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=LIMIT_S, trust_env=False
            )
            made[name] = await stack.enter_async_context(client)
        yield made


async def answered(
    client: httpx.AsyncClient,
    worker: ScriptedWorker,
    body: dict[str, Any] = ASKED,
    path: str = "/v1/chat/completions",
    **headers: str,
) -> str:
    """The id of the job that it was."""
    asking = asyncio.create_task(client.post(path, json=body, headers=headers))
    claim = await worker.take()
    await worker.answer(claim, b"{}", headers=SSE)
    response = await asking
    assert response.status_code == 200, response.text
    assert response.headers["x-familyai-job-id"] == claim.job.id
    return claim.job.id


async def mark(client: httpx.AsyncClient, job_id: str, **more: Any) -> httpx.Response:
    return await client.post(f"/v1/jobs/{job_id}/feedback", json={"model": "wrong"} | more)


async def listed(client: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    response = await client.get("/v1/route/feedback", params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def kept(redis: Redis) -> list[bytes | str]:
    return [*await redis.keys(keys.routed("*")), *await redis.keys(keys.route_feedback("*"))]


async def test_a_mark_from_its_making_to_its_end(served: Served, worker: ScriptedWorker, redis: Redis) -> None:
    job_id = await answered(served.client, worker)
    response = await mark(served.client, job_id, kind="chat-reasoning")
    assert response.status_code == 200, response.text
    told = response.json()
    assert told.pop("created_at") > 1e9
    assert told.pop("chosen") == (await served.client.post("/v1/route", json=ASKED)).json()["kind"]
    assert told == {
        "id": job_id,
        "object": "route.feedback",
        "member": "ada",
        "model": "wrong",
        "queue": "chat",
        "kind": "chat-reasoning",
        "path": "/v1/chat/completions",
        "prefer": None,
    }

    page = await listed(served.client)
    (row,) = page.pop("data")
    assert page == {"object": "list", "first_id": job_id, "last_id": job_id, "has_more": False}
    assert row == response.json() | {"request": {"messages": ASKED["messages"]}}

    response = await served.client.delete(f"/v1/jobs/{job_id}/feedback")
    assert response.json() == {"id": job_id, "object": "route.feedback", "deleted": True}
    assert refused(await served.client.delete(f"/v1/jobs/{job_id}/feedback")) == (404, "feedback_not_found")
    assert (await listed(served.client))["data"] == []
    assert await redis.keys("familyai:route-feedback:*") == []


async def test_the_last_mark_counts_even_after_a_day(served: Served, worker: ScriptedWorker, redis: Redis) -> None:
    job_id = await answered(served.client, worker)
    await mark(served.client, job_id, kind="chat-fast")
    await redis.delete(keys.routed(job_id), keys.job(job_id))
    assert (await mark(served.client, job_id)).json()["kind"] is None
    assert [row["kind"] for row in (await listed(served.client))["data"]] == [None]


async def test_only_who_asked_may_mark(
    served: Served, worker: ScriptedWorker, clients: dict[str, httpx.AsyncClient]
) -> None:
    job_id = await answered(served.client, worker)
    unknown = await mark(served.client, "job-0")
    assert refused(unknown) == (404, "job_not_found")
    for name in ("eve", "mum", "webui"):
        assert (await mark(clients[name], job_id)).content == unknown.content
    assert (await listed(clients["mum"]))["data"] == []


async def test_marks_are_their_member_s_and_admins_see_all(
    served: Served, worker: ScriptedWorker, clients: dict[str, httpx.AsyncClient]
) -> None:
    jobs = {}
    for name in ("ada", "eve"):
        jobs[name] = await answered(clients[name], worker)
        await mark(clients[name], jobs[name])
    assert [row["id"] for row in (await listed(clients["eve"]))["data"]] == [jobs["eve"]]
    assert (await listed(clients["webui"]))["data"] == []
    assert [row["member"] for row in (await listed(clients["mum"]))["data"]] == ["eve", "ada"]

    for name in ("ada", "webui"):
        assert (await clients[name].delete(f"/v1/jobs/{jobs['eve']}/feedback")).status_code == 404
    assert (await clients["mum"].delete(f"/v1/jobs/{jobs['eve']}/feedback")).status_code == 200
    assert (await listed(clients["eve"]))["data"] == []


async def test_an_admin_behind_a_trusted_key_is_no_admin(
    served: Served, worker: ScriptedWorker, clients: dict[str, httpx.AsyncClient]
) -> None:
    await served.front.members.change("mum", Change(user="open-webui/u-1"))
    user = {"x-openwebui-user-id": "u-1", "x-openwebui-user-name": "Mum"}
    job_id = await answered(served.client, worker)
    await mark(served.client, job_id)
    assert (await clients["webui"].get("/v1/route/feedback", headers=user)).json()["data"] == []
    assert (await clients["webui"].delete(f"/v1/jobs/{job_id}/feedback", headers=user)).status_code == 404


async def test_marks_come_in_pages(served: Served, worker: ScriptedWorker) -> None:
    jobs = [await answered(served.client, worker) for _ in range(3)]
    for job_id in jobs:
        await mark(served.client, job_id)
    page = await listed(served.client, limit=2)
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([jobs[2], jobs[1]], True)
    page = await listed(served.client, limit=2, after=page["last_id"])
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([jobs[0]], False)
    for wrong in ({"limit": 0}, {"limit": 101}, {"after": "job-x"}):
        assert (await served.client.get("/v1/route/feedback", params=wrong)).status_code == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": "right"}, "model"),
        ({"model": "wrong", "kind": "chat"}, "kind"),
        ({"model": "wrong", "kind": 3}, "kind"),
        ([], None),
    ],
)
async def test_words_that_mean_nothing(served: Served, body: Any, param: str | None) -> None:
    response = await served.client.post("/v1/jobs/job-1/feedback", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_strangers_mark_and_see_nothing(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT_S) as stranger:
        assert (await mark(stranger, "job-1")).status_code == 401
        assert (await stranger.delete("/v1/jobs/job-1/feedback")).status_code == 401
        assert (await stranger.get("/v1/route/feedback")).status_code == 401


# --- what is kept ---


async def test_a_model_that_was_named_was_no_choice(served: Served, worker: ScriptedWorker, redis: Redis) -> None:
    job_id = await answered(served.client, worker, ASKED | {"model": "chat"})
    assert await kept(redis) == []
    response = await mark(served.client, job_id)
    assert refused(response) == (409, "route_named")
    assert response.headers["x-should-retry"] == "false", "OpenAI's clients would ask again"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", ASKED),
        ("/v1/embeddings", {"model": "vectors", "input": SECRET}),
        ("/v1/chat/completions", ASKED | {"messages": [{"role": "user", "content": [{"x" * 70_000: 1}]}]}),
    ],
)
async def test_what_is_never_kept(
    served: Served, worker: ScriptedWorker, redis: Redis, path: str, body: dict[str, Any]
) -> None:
    worker.queue = "vectors" if path == "/v1/embeddings" else "chat"
    await worker.beat()
    await answered(served.client, worker, body, path)
    assert await kept(redis) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": SECRET}),
        ("/v1/responses", {"input": SECRET, "instructions": "Be kind."}),
        ("/v1/messages", {"messages": ASKED["messages"], "system": "Be kind.", "max_tokens": 9}),
    ],
)
async def test_every_endpoint_that_generates_can_be_marked(
    served: Served, worker: ScriptedWorker, path: str, body: dict[str, Any]
) -> None:
    job_id = await answered(served.client, worker, {"model": "auto"} | body, path)
    assert (await mark(served.client, job_id)).json()["path"] == path
    (row,) = (await listed(served.client))["data"]
    assert row["request"] == body


@pytest.mark.parametrize(
    ("body", "headers", "prefer"),
    [
        ({}, {"X-FamilyAI-Prefer": "quality"}, "quality"),
        ({"model": "gpt-4o-mini"}, {}, "speed"),
        ({"model": "auto:speed"}, {"X-FamilyAI-Prefer": "quality"}, "quality"),
        ({"model": "auto:speed", "reasoning_effort": "high"}, {}, None),
    ],
)
async def test_what_counted_more_is_kept_too(
    served: Served, worker: ScriptedWorker, body: dict[str, Any], headers: dict[str, str], prefer: str | None
) -> None:
    job_id = await answered(served.client, worker, ASKED | body, **headers)
    assert (await mark(served.client, job_id)).json()["prefer"] == prefer


async def test_a_large_request_is_cut(served: Served, worker: ScriptedWorker) -> None:
    body = ASKED | {"messages": [{"role": "user", "content": SECRET + " and so on" * 40_000}]}
    job_id = await answered(served.client, worker, body)
    await mark(served.client, job_id)
    (row,) = (await listed(served.client))["data"]
    text = row["request"]["messages"][0]["content"]
    assert text.startswith(SECRET)
    assert len(text) < 40_000


async def test_a_refused_request_is_not_kept(served: Served, worker: ScriptedWorker, redis: Redis) -> None:
    await served.front.members.change("ada", Change(own={"requests_per_minute": 1}))
    job_id = await answered(served.client, worker)
    response = await served.client.post("/v1/chat/completions", json=ASKED)
    assert response.status_code == 429
    assert await kept(redis) == [keys.routed(job_id).encode()]


async def test_an_answer_does_without_what_cannot_be_kept(
    served: Served, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def lost(*_: object) -> None:
        raise RedisLost

    monkeypatch.setattr(FeedbackStore, "remember", lost)
    await answered(served.client, worker)
    assert [getattr(record, "action", "") for record in caplog.records].count("route.not_kept") == 1


async def test_no_log_line_says_what_was_asked(
    served: Served, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    job_id = await answered(served.client, worker)
    await mark(served.client, job_id)
    await served.client.delete(f"/v1/jobs/{job_id}/feedback")
    actions = [getattr(record, "action", "") for record in caplog.records]
    assert "route.marked" in actions
    assert "route.unmarked" in actions
    assert "marmalade" not in caplog.text + str([vars(record) for record in caplog.records])


class TestOff:
    """As the catalogue has it where it says nothing."""

    @pytest.fixture
    def profile(self) -> Profile:
        return Profile.model_validate(ROUTED | {"learn": False})

    async def test_nothing_is_kept_and_the_refusal_says_how_to_change_that(
        self, served: Served, worker: ScriptedWorker, redis: Redis
    ) -> None:
        job_id = await answered(served.client, worker)
        response = await mark(served.client, job_id)
        assert refused(response) == (403, "learning_off")
        assert "`learn: true`" in response.json()["error"]["message"]
        assert await kept(redis) == []

    async def test_what_was_kept_before_can_be_seen_and_taken_back(self, served: Served) -> None:
        about: dict[str, Any] = {"path": "/v1/chat/completions", "chosen": "chat-fast", "queue": "chat", "request": {}}
        await served.front.feedback.mark(Marked(job_id="job-1", member="ada", at_s=1.5, **about))
        assert [row["id"] for row in (await listed(served.client))["data"]] == ["job-1"]
        assert (await served.client.delete("/v1/jobs/job-1/feedback")).status_code == 200
        assert (await listed(served.client))["data"] == []
