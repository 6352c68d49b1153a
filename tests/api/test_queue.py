"""The lines as members see them: their own jobs by name, others as numbers, and for an admin everybody."""

import asyncio
from typing import Any

import httpx
from redis.asyncio import Redis

from api.queue import seen
from familyai import keys
from familyai.allowance import Role
from familyai.catalogue import Engine, Fairness, Model
from familyai.cli.api import decoded
from familyai.cli.queue import Found
from familyai.fair import Ticket
from familyai.line import Line, Running, forecast
from tests.api.support import LIMIT_S, ScriptedWorker, Served, until

NO_SHARES = Fairness(background_share=0, batch_share=0)
MODEL = Model(model="org/q", engine=Engine.ECHO, memory_gb=0.1, slots=2)
WAITING = (
    Ticket("a1", "q.00", "ada", 1, 20, 1, 1.0),
    Ticket("b1", "q.01", "bob", 1, 40, 1, 2.0),
    Ticket("a2", "q.00.batch", "ada", 1, 60, 1, 3.0),
    Ticket("b2", "q.01", "bob", 1, 40, 1, 4.0),
)
RUNNING = (
    Running("b0", "q.01", "bob", 1, 40, 1, 0.0, 0, "w", 1e12),
    Running("a0", "q.00", "ada", 1, 40, 1, 0.0, 0, "w", 0.0),
)
LINE = Line(WAITING, RUNNING, {}, 0.5, 1, 2, 1, NO_SHARES)


def as_seen_by(member: str | None, line: Line = LINE) -> dict[str, Any]:
    return seen("q", MODEL, line, forecast(line, 1e12), member).model_dump(mode="json")


def test_ones_own_are_named_and_others_counted() -> None:
    found = as_seen_by("ada")
    assert found | {"running_jobs": [], "waiting_jobs": []} == {
        "id": "q",
        "object": "queue",
        "model": "org/q",
        "workers": 1,
        "slots": 3,
        "seconds_per_job": 20.0,
        "running": 2,
        "waiting": 4,
        "running_jobs": [],
        "waiting_jobs": [],
    }
    assert [(job["id"], job["member"]) for job in found["running_jobs"]] == [("a0", "ada")]
    told = [(job["id"], job["position"], job["others_ahead"], job["priority"]) for job in found["waiting_jobs"]]
    assert told == [("a1", 1, 0, "interactive"), ("a2", 4, 2, "batch")]


def test_nobody_elses_name_is_anywhere() -> None:
    assert "bob" not in str(as_seen_by("ada"))
    assert "b1" not in str(as_seen_by("ada"))
    assert [job["id"] for job in as_seen_by("bob")["waiting_jobs"]] == ["b1", "b2"]
    stranger = as_seen_by("eve")
    assert (stranger["running_jobs"], stranger["waiting_jobs"], stranger["waiting"]) == ([], [], 4)


def test_an_admin_sees_everybody_in_order() -> None:
    found = as_seen_by(None)
    assert [job["id"] for job in found["running_jobs"]] == ["a0", "b0"], "the oldest first"
    assert [(job["member"], job["position"]) for job in found["waiting_jobs"]] == [
        ("ada", 1),
        ("bob", 2),
        ("bob", 3),
        ("ada", 4),
    ]


def test_without_a_measured_pace_nothing_is_promised() -> None:
    unmeasured = Line(WAITING, RUNNING, {}, None, 1, 2, 1, NO_SHARES)
    found = as_seen_by("ada", unmeasured)
    assert found["seconds_per_job"] is None
    assert [job["eta_s"] for job in found["waiting_jobs"]] == [None, None]


def test_an_empty_line_expects_an_ordinary_job() -> None:
    empty = Line((), (), {}, 0.5, 1, 2, 1, NO_SHARES)
    assert as_seen_by("ada", empty)["seconds_per_job"] == 0.5 * MODEL.answer_tokens * 2


async def test_over_http(served: Served, worker: ScriptedWorker, redis: Redis) -> None:
    await redis.hset(keys.pace("chat"), mapping={"busy_s": 1, "cost": 1000})
    _, key = await served.front.members.add("eve", Role.CHILD)
    headers = {"Authorization": f"Bearer {key}"}
    asking = [asyncio.create_task(served.chat()) for _ in range(2)]
    claim = await worker.take()
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=LIMIT_S, trust_env=False) as eve:

        async def one_runs_one_waits() -> bool:
            chat, vectors = (await eve.get("/v1/queue")).json()["data"]
            assert (vectors["id"], vectors["workers"], vectors["running"], vectors["waiting"]) == ("vectors", 0, 0, 0)
            return (chat["running"], chat["waiting"], chat["workers"], chat["slots"]) == (1, 1, 1, 5)

        await until(one_runs_one_waits, "one runs, one waits")
        chat = (await eve.get("/v1/queue")).json()["data"][0]
        assert (chat["running_jobs"], chat["waiting_jobs"]) == ([], [])
    answer = await served.client.get("/v1/queue")
    assert decoded(answer.content, Found).data[0].running_jobs[0].member == "ada", "as the command line reads it"
    chat = answer.json()["data"][0]
    assert [job["id"] for job in chat["running_jobs"]] == [claim.job.id]
    assert [(job["position"], job["others_ahead"], job["eta_s"]) for job in chat["waiting_jobs"]] == [(1, 0, 0.0)]
    await worker.answer(claim, b"{}")
    await worker.answer(await worker.take(), b"{}")
    await asyncio.gather(*asking)
