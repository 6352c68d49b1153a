"""A piece of work gets its answer, whatever dies in between, and never takes the place of a person's request."""

import asyncio

import pytest

from api.submit import json_job
from api.work import dispatch
from api.work.dispatch import Dispatcher
from familyai.errors import EngineFailed
from familyai.frame import Failed
from familyai.job import Job
from familyai.jobs import MOST_ATTEMPTS, State
from familyai.lanes import Lane, Priority
from routing.estimate import Estimate
from routing.resolve import resolve
from tests.api.support import ScriptedWorker, Served, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr("api.watch.INTERVAL_S", 0.05)


ESTIMATE = Estimate(input=1, output=1, cost=3.0, tokens=2)


def make(served: Served) -> Job:
    target = resolve("chat", served.front.profile)
    return json_job(
        served.front, "/v1/chat/completions", "ada", target, {"messages": []}, ESTIMATE, priority=Priority.BATCH
    )


async def test_an_answer_whatever_its_status(served: Served, worker: ScriptedWorker) -> None:
    running = asyncio.create_task(Dispatcher(served.front).run("chat", "ada", lambda: make(served)))
    await worker.answer(await worker.take(), b"half ", b"and half", status=422)
    answer = await running
    assert (answer.status, answer.body) == (422, b"half and half")


async def test_no_more_at_once_than_the_model_has_slots(served: Served, worker: ScriptedWorker) -> None:
    dispatcher = Dispatcher(served.front)
    slots = served.front.profile.model("chat").slots
    running = [asyncio.create_task(dispatcher.run("chat", "ada", lambda: make(served))) for _ in range(slots + 3)]

    async def on_the_lane() -> int:
        return int(await served.front.redis.llen(Lane("chat", 0, Priority.BATCH).name))

    async def full() -> bool:
        return await on_the_lane() == slots

    await until(full, "as many as there are slots")
    for _ in range(len(running)):
        claim = await worker.take()
        assert len(served.front.replies.all()) <= slots
        await worker.answer(claim, b"{}")
    assert [answer.status for answer in await asyncio.gather(*running)] == [200] * len(running)


async def die(served: Served, worker: ScriptedWorker) -> None:
    """Takes a job as a worker that is never heard of again."""
    ghost = ScriptedWorker(worker.redis, id="ghost")
    claim = await ghost.take()
    await ghost.start(claim)


async def test_a_worker_s_death_is_no_end(served: Served, worker: ScriptedWorker) -> None:
    running = asyncio.create_task(Dispatcher(served.front).run("chat", "ada", lambda: make(served)))
    for _ in range(2):
        await die(served, worker)
    await worker.answer(await worker.take(), b"at last")
    assert (await running).body == b"at last"


async def test_what_kills_one_worker_after_the_other_is_given_up(served: Served, worker: ScriptedWorker) -> None:
    running = asyncio.create_task(Dispatcher(served.front).run("chat", "ada", lambda: make(served)))
    for _ in range(MOST_ATTEMPTS):
        await die(served, worker)
    with pytest.raises(EngineFailed, match="set aside"):
        await running


async def test_what_the_engine_cannot_do_is_not_tried_again(served: Served, worker: ScriptedWorker) -> None:
    running = asyncio.create_task(Dispatcher(served.front).run("chat", "ada", lambda: make(served)))
    claim = await worker.take()
    await worker.say(claim, Failed(claim.job.id, 1, 0, "engine_failed", "The engine failed."))
    with pytest.raises(EngineFailed, match="engine failed"):
        await running


async def test_cancelled_work_is_withdrawn(served: Served, worker: ScriptedWorker) -> None:
    running = asyncio.create_task(Dispatcher(served.front).run("chat", "ada", lambda: make(served)))
    claim = await worker.take()
    running.cancel()

    async def cancelled() -> bool:
        (record,) = await served.front.jobs.records([claim.job.id])
        return record.state is State.CANCELLED

    await until(cancelled, "the job is cancelled")
