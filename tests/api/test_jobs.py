"""One's own jobs: where they stand, and the end of those that nobody needs any more. Others' do not exist."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from redis.asyncio import Redis

import api.tell
from familyai import keys
from familyai.allowance import Role
from familyai.frame import NO_SEQ, Failed, decode_frames
from familyai.jobs import MOST_ATTEMPTS, Delivery, JobStore, State
from familyai.members import Change
from familyai.past import NOTHING
from tests.api.support import JSON, LIMIT_S, ScriptedWorker, Served, until
from tests.support import a_job

USER = {"x-openwebui-user-id": "u-1", "x-openwebui-user-name": "Leo"}
UNKNOWN = "job-00000000000000000000000000000000"


@dataclass
class Household:
    """Clients of several people: `ada` asks; `eve` is somebody else; `mum` an admin; `webui` a trusted key."""

    ada: httpx.AsyncClient
    eve: httpx.AsyncClient
    mum: httpx.AsyncClient
    webui: httpx.AsyncClient


@pytest.fixture
async def household(served: Served) -> AsyncIterator[Household]:
    roles = {"eve": (Role.ADULT, Change()), "mum": (Role.ADMIN, Change()), "webui": (Role.ADULT, Change(trusted=True))}
    clients = {}
    async with AsyncExitStack() as stack:
        for name, (role, change) in roles.items():
            _, key = await served.front.members.add(name, role, change)
            made = httpx.AsyncClient(
                base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=LIMIT_S, trust_env=False
            )
            clients[name] = await stack.enter_async_context(made)
        yield Household(served.client, **clients)


async def waiting_job(served: Served, client: httpx.AsyncClient, **headers: str) -> tuple[str, Any]:
    """Its id, and the request that waits for it."""
    before = {reply.job_id for reply in served.front.replies.all()}
    asking = asyncio.create_task(client.post("/v1/chat/completions", json={"model": "auto"}, headers=headers))
    found: set[str] = set()

    async def is_there() -> bool:
        found.update({reply.job_id for reply in served.front.replies.all()} - before)
        return any([await served.front.jobs.describe(job_id) for job_id in found])

    await until(is_there, "the job is there")
    (job_id,) = found
    return job_id, asking


async def seen(client: httpx.AsyncClient, job_id: str, **headers: str) -> dict[str, Any]:
    response = await client.get(f"/v1/jobs/{job_id}", headers=headers)
    assert response.status_code == 200, response.text
    job: dict[str, Any] = response.json()
    return job


async def lists(client: httpx.AsyncClient, *job_ids: str, **headers: str) -> bool:
    """These, and no more."""
    listed = (await client.get("/v1/jobs", headers=headers)).json()["data"]
    return [job["id"] for job in listed] == list(job_ids)


async def test_a_job_from_its_line_to_its_end(served: Served, worker: ScriptedWorker, redis: Redis) -> None:
    await redis.hset(keys.pace("chat"), mapping={"busy_s": 1, "cost": 1000})
    job_id, asking = await waiting_job(served, served.client)

    async def has_a_place() -> bool:
        place: int | None = (await seen(served.client, job_id))["position"]
        return place == 1

    await until(has_a_place, "it is seen in its line")
    job = await seen(served.client, job_id)
    assert job | {"created_at": 0, "queue_wait_s": 0} == {
        "id": job_id,
        "object": "job",
        "state": "queued",
        "member": "ada",
        "model": "org/chat",
        "queue": "chat",
        "priority": "interactive",
        "position": 1,
        "eta_s": 0.0,
        "queue_wait_s": 0,
        "attempt": 0,
        "created_at": 0,
        "started_at": None,
        "ended_at": None,
    }
    assert 0 < job["queue_wait_s"] <= time.time() - job["created_at"]

    claim = await worker.take()
    job = await seen(served.client, job_id)
    assert (job["state"], job["position"], job["eta_s"], job["attempt"]) == ("running", None, None, 1)
    assert job["started_at"] - job["created_at"] == pytest.approx(job["queue_wait_s"], abs=0.001)

    await worker.answer(claim, b"{}")
    await asking
    await worker.jobs.finish(claim.job, claim.attempt, State.DONE)
    job = await seen(served.client, job_id)
    assert (job["state"], job["ended_at"] >= job["started_at"]) == ("done", True)


async def test_others_jobs_are_as_if_they_never_were(
    served: Served, worker: ScriptedWorker, household: Household
) -> None:
    job_id, asking = await waiting_job(served, household.ada)

    for method in ("GET", "DELETE"):
        for client in (household.eve, household.webui):
            others = await client.request(method, f"/v1/jobs/{job_id}")
            unknown = await client.request(method, f"/v1/jobs/{UNKNOWN}")
            assert others.status_code == 404
            assert others.content == unknown.content
    assert (await household.eve.get("/v1/jobs")).json()["data"] == []
    assert (await seen(household.mum, job_id))["member"] == "ada"
    await until(lambda: lists(household.mum, job_id), "an admin's list has it")
    assert (await seen(household.ada, job_id))["state"] == "queued", "nobody else has ended it"
    await worker.answer(await worker.take(), b"{}")
    assert (await asking).status_code == 200


async def test_a_trusted_key_sees_what_its_user_sees(
    served: Served, worker: ScriptedWorker, household: Household
) -> None:
    mine, asking = await waiting_job(served, household.webui, **USER)
    adas, also_asking = await waiting_job(served, household.ada)
    await household.webui.get("/v1/models", headers={"x-openwebui-user-id": "u-2"})

    assert (await seen(household.webui, mine, **USER))["id"] == mine
    for headers in ({}, {"x-openwebui-user-id": "u-2"}):
        assert (await household.webui.delete(f"/v1/jobs/{mine}", headers=headers)).status_code == 404
    assert (await household.webui.get(f"/v1/jobs/{adas}", headers=USER)).status_code == 404

    await until(lambda: lists(household.webui, mine, **USER), "the list has the one job of this user")
    for _ in range(2):
        await worker.answer(await worker.take(), b"{}")
    await asyncio.gather(asking, also_asking)


async def test_an_admin_behind_a_trusted_key_is_no_admin(
    served: Served, worker: ScriptedWorker, household: Household
) -> None:
    await served.front.members.change("mum", Change(user="open-webui/u-1"))
    job_id, asking = await waiting_job(served, household.ada)
    response = await household.webui.get(f"/v1/jobs/{job_id}", headers=USER)
    assert response.status_code == 404
    await worker.answer(await worker.take(), b"{}")
    await asking


async def test_jobs_that_killed_their_workers_are_listed_for_those_whose_they_are(
    served: Served, household: Household, redis: Redis
) -> None:
    jobs = JobStore(redis, record_ttl_s=60)
    job = a_job(queue="chat", member="ada")
    await jobs.enqueue(job)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        await jobs.claim(Delivery(job.id, job.lane, job.member), job.queue, "dead")
        await jobs.take_back(job.id, attempt, NOTHING)

    async def listed(client: httpx.AsyncClient) -> list[tuple[str, str, int]]:
        found = (await client.get("/v1/jobs", params={"set_aside": True})).json()["data"]
        return [(one["id"], one["state"], one["attempt"]) for one in found]

    assert await listed(served.client) == await listed(household.mum) == [(job.id, "failed", MOST_ATTEMPTS)]
    assert await listed(household.eve) == []


async def test_the_list_is_in_the_order_of_the_line(served: Served, worker: ScriptedWorker) -> None:
    first, asking = await waiting_job(served, served.client)
    second, also_asking = await waiting_job(served, served.client, **{"X-FamilyAI-Priority": "batch"})
    third, asking_too = await waiting_job(served, served.client)
    claim = await worker.take()
    assert claim.job.id == first

    async def in_order() -> bool:
        listed = (await served.client.get("/v1/jobs")).json()["data"]
        told = [(job["id"], job["state"], job["position"], job["priority"]) for job in listed]
        return told == [
            (first, "running", None, "interactive"),
            (third, "queued", 1, "interactive"),
            (second, "queued", 2, "batch"),
        ]

    await until(in_order, "the list is in order")
    await worker.answer(claim, b"{}")
    for _ in range(2):
        await worker.answer(await worker.take(), b"{}")
    await asyncio.gather(asking, also_asking, asking_too)


# --- taken back ---


async def test_a_queued_job_never_starts_and_its_request_ends(
    served: Served, worker: ScriptedWorker, redis: Redis
) -> None:
    job_id, asking = await waiting_job(served, served.client)
    answers = [await served.client.delete(f"/v1/jobs/{job_id}") for _ in range(2)]

    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "cancelled")] * 2
    assert answers[0].json() | {"queue_wait_s": 0} == answers[1].json() | {"queue_wait_s": 0}
    response = await asking
    assert (response.status_code, response.headers["x-familyai-job-id"]) == (410, job_id)
    assert response.json()["error"] == {
        "message": "This request was taken back.",
        "type": "invalid_request_error",
        "param": None,
        "code": "cancelled",
    }
    assert await worker.jobs.claim(await worker.next(), "chat", worker.id) is None
    assert await worker.jobs.waiting("chat") == 0
    assert await redis.hlen(keys.in_flight("ada")) == 0


async def test_openais_client_does_not_ask_again_for_what_was_taken_back(
    served: Served, worker: ScriptedWorker, redis: Redis
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key) as client:
        asking = asyncio.create_task(client.chat.completions.create(model="auto", messages=[]))
        await until(lambda: is_waiting(worker, 1), "it waits")
        (job_id,) = await redis.hkeys(keys.backlog("chat"))
        await served.client.delete(f"/v1/jobs/{job_id.decode()}")
        with pytest.raises(openai.APIStatusError) as caught:
            await asking
    assert caught.value.status_code == 410
    assert await worker.jobs.waiting("chat") == 0


async def is_waiting(worker: ScriptedWorker, count: int) -> bool:
    return await worker.jobs.waiting("chat") == count


async def test_a_running_jobs_worker_is_told_and_its_stream_ends(
    served: Served, worker: ScriptedWorker, household: Household
) -> None:
    told = worker.redis.pubsub(ignore_subscribe_messages=True)
    await told.subscribe(keys.control(worker.id))
    await told.get_message(timeout=LIMIT_S)
    request = served.client.build_request("POST", "/v1/chat/completions", json={"model": "auto", "stream": True})
    opening = asyncio.create_task(served.client.send(request, stream=True))
    claim = await worker.take()
    await worker.start(claim)
    await worker.write(claim, b"data: 1\n\n")
    stream = await opening

    response = await household.mum.delete(f"/v1/jobs/{claim.job.id}")

    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    body = await stream.aread()
    assert body.startswith(b'id: 1\ndata: 1\n\ndata: {"error":')
    assert b'"code":"cancelled"' in body
    assert b"[DONE]" not in body
    heard = await told.get_message(timeout=LIMIT_S)
    assert heard is not None
    assert heard["data"] == claim.job.id.encode()
    await told.aclose()  # type: ignore[no-untyped-call]


async def test_a_stream_that_still_waits_ends_with_an_event(
    served: Served, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.tell, "OPEN_AFTER_S", api.tell.SEEN_AFTER_S)
    body = {"model": "auto", "stream": True}
    async with served.client.stream("POST", "/v1/chat/completions", json=body) as stream:
        await served.client.delete(f"/v1/jobs/{stream.headers['x-familyai-job-id']}")
        assert (await stream.aread()).endswith(
            b'data: {"error":{"message":"This request was taken back.",'
            b'"type":"invalid_request_error","param":null,"code":"cancelled"}}\n\n'
        )


async def test_a_job_that_has_ended_stays_as_it_ended(served: Served, worker: ScriptedWorker) -> None:
    job_id, asking = await waiting_job(served, served.client)
    claim = await worker.take()
    await worker.answer(claim, b"{}", headers=JSON)
    await asking
    await worker.jobs.finish(claim.job, claim.attempt, State.DONE)

    response = await served.client.delete(f"/v1/jobs/{job_id}")
    assert (response.status_code, response.json()["state"]) == (200, "done")


async def test_a_word_that_was_lost_is_said_again(served: Served, redis: Redis) -> None:
    """Another front's client is told on that front's channel, each time somebody asks."""
    job = a_job(queue="chat", front="front-elsewhere")
    await served.front.jobs.enqueue(job)
    elsewhere = redis.pubsub(ignore_subscribe_messages=True)
    await elsewhere.subscribe(keys.reply("front-elsewhere"))
    await elsewhere.get_message(timeout=LIMIT_S)
    for _ in range(2):
        await served.client.delete(f"/v1/jobs/{job.id}")
        heard = await elsewhere.get_message(timeout=LIMIT_S)
        assert heard is not None
        (frame,) = decode_frames(heard["data"])
        assert frame == Failed(job.id, 0, NO_SEQ, "cancelled", "This request was taken back.")
    await elsewhere.aclose()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("path", ["/v1/jobs", f"/v1/jobs/{UNKNOWN}", "/v1/queue"])
async def test_strangers_see_nothing(served: Served, path: str) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT_S) as stranger:
        assert (await stranger.get(path)).status_code == 401
