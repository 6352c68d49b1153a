import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from starlette.types import ASGIApp, Receive, Scope, Send

from familyai import keys
from familyai.blobs import BlobStore
from familyai.frame import Body, End, Failed, Frame, Start
from familyai.job import Blob, Job
from familyai.jobs import JobStore, State
from familyai.past import Past
from familyai.quota import TOKENS_PER_DAY, Windows
from tests.support import a_job
from tests.workers.delivering import DrivenServer

MakeServer = Callable[[ASGIApp], DrivenServer]


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    return JobStore(redis, record_ttl_s=60)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


@pytest.fixture
def frames() -> list[Frame]:
    return []


@pytest.fixture
def serving(redis: Redis, jobs: JobStore, blobs: BlobStore, frames: list[Frame]) -> MakeServer:
    def make(app: ASGIApp) -> DrivenServer:
        server = DrivenServer(redis, blobs, jobs, app)
        server.outbox.put = lambda front, frame: frames.append(frame)  # type: ignore[method-assign]
        return server

    return make


@pytest.fixture
async def job(jobs: JobStore) -> Job:
    made = a_job(body=b"hello")
    await jobs.enqueue(made)
    return made


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def state(jobs: JobStore, job: Job) -> State | None:
    (record,) = await jobs.records([job.id])
    return record.state


async def test_an_answer_and_its_end(serving: MakeServer, jobs: JobStore, job: Job, frames: list[Frame]) -> None:
    await serving(mirror).take(job)
    assert [type(frame) for frame in frames] == [Start, Body, End]
    assert await state(jobs, job) is State.DONE


async def test_a_body_in_the_blob_store(
    serving: MakeServer, jobs: JobStore, blobs: BlobStore, frames: list[Frame]
) -> None:
    job = a_job(id="job-1", body=b"head ", blob=Blob("requests/job-1", 0, 14), tail=b" tail")
    await blobs.put("requests/job-1", b"from the store")
    await jobs.enqueue(job)
    await serving(mirror).take(job)
    assert b"".join(frame.data for frame in frames if isinstance(frame, Body)) == b"head from the store tail"
    with pytest.raises(FileNotFoundError):
        await blobs.get("requests/job-1")


async def test_a_body_that_is_gone_fails_the_job_alone(
    serving: MakeServer, jobs: JobStore, frames: list[Frame]
) -> None:
    job = a_job(blob=Blob("requests/no", 0, 1))
    await jobs.enqueue(job)
    await serving(mirror).take(job)
    assert isinstance(frames[-1], Failed)
    assert await state(jobs, job) is State.FAILED


async def test_a_second_delivery_is_dropped(serving: MakeServer, job: Job, frames: list[Frame]) -> None:
    server = serving(mirror)
    await asyncio.gather(server.take(job), server.take(job))
    assert [type(frame) for frame in frames] == [Start, Body, End]
    assert server.taken == 2


async def test_a_job_cancelled_while_queued_never_starts(
    serving: MakeServer, jobs: JobStore, job: Job, frames: list[Frame]
) -> None:
    await jobs.cancel(job.id)
    await serving(mirror).take(job)
    assert frames == []


async def test_an_unreadable_job_is_dropped(serving: MakeServer, redis: Redis, job: Job, frames: list[Frame]) -> None:
    await redis.hset(keys.job(job.id), "job", b"\xc1 not msgpack")
    await serving(mirror).take(job)
    assert frames == []


async def test_an_engine_that_raises_before_the_first_byte(
    serving: MakeServer, jobs: JobStore, job: Job, frames: list[Frame]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("secret prompt text")

    await serving(app).take(job)
    (failed,) = frames
    assert isinstance(failed, Failed)
    assert "secret" not in failed.message
    assert await state(jobs, job) is State.FAILED


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit])
async def test_not_even_an_exit_of_the_engine_leaves_the_client_waiting(
    serving: MakeServer, jobs: JobStore, job: Job, frames: list[Frame], error: type[BaseException]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    await serving(app).take(job)
    assert isinstance(frames[-1], Failed)
    assert await state(jobs, job) is State.FAILED


async def test_an_end_is_recorded_once_the_broker_is_back(
    serving: MakeServer, jobs: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, tries = jobs.finish, 0

    async def sometimes(*arguments: Any) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError("gone")
        await finish(*arguments)

    monkeypatch.setattr(jobs, "finish", sometimes)
    monkeypatch.setattr("workers.serve.RETRY_S", 0.01)
    await serving(mirror).take(job)
    assert await state(jobs, job) is State.DONE


async def test_a_doubled_delivery_does_not_cancel_the_one_that_runs(
    serving: MakeServer, jobs: JobStore, job: Job, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second delivery's claim is answered first, with nothing, while the first one's answer is on its way."""
    server, claim = serving(mirror), jobs.claim

    async def late(*arguments: Any) -> Any:
        won = await claim(*arguments)
        if won is not None:
            await server.take(job)
        return won

    monkeypatch.setattr(jobs, "claim", late)
    await server.take(job)
    assert [type(frame) for frame in frames] == [Start, Body, End]


async def test_an_engine_that_stops_in_the_middle(serving: MakeServer, job: Job, frames: list[Frame]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    await serving(app).take(job)
    assert [type(frame) for frame in frames] == [Start, Body, Failed]


@pytest.fixture
def patient() -> tuple[ASGIApp, asyncio.Event]:
    begun = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        begun.set()
        assert await receive() == {"type": "http.disconnect"}

    return app, begun


async def test_an_abandoned_job_hears_the_disconnect(
    serving: MakeServer, jobs: JobStore, job: Job, patient: tuple[ASGIApp, asyncio.Event]
) -> None:
    app, begun = patient
    server = serving(app)
    serving_it = asyncio.create_task(server.take(job))
    await asyncio.wait_for(begun.wait(), 10)
    await jobs.cancel(job.id)
    server.abandon(job.id)
    await asyncio.wait_for(serving_it, 10)
    assert await state(jobs, job) is State.CANCELLED
    assert server.running == {}


async def test_a_cancel_that_overtakes_the_claim_is_heard(
    serving: MakeServer,
    jobs: JobStore,
    job: Job,
    patient: tuple[ASGIApp, asyncio.Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serving(patient[0])
    claim = jobs.claim

    async def overtaken(*arguments: str) -> object:
        won = await claim(*arguments)
        server.abandon(job.id)
        return won

    monkeypatch.setattr(jobs, "claim", overtaken)
    await asyncio.wait_for(server.take(job), 10)
    assert server.running == {}


async def test_an_attempt_that_ended_here_takes_no_later_one_along(
    serving: MakeServer, jobs: JobStore, job: Job
) -> None:
    """A beat was told that it is ours no more, and it ended while the beat was under way."""
    server = serving(mirror)
    server.abandon(job.id, 1)
    await server.take(job)
    assert await state(jobs, job) is State.DONE


async def test_a_refusal_tells_nothing_of_the_pace(serving: MakeServer, redis: Redis, jobs: JobStore) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    for answer, known in ((app, False), (mirror, True)):
        job = a_job(body=b"hello")
        await jobs.enqueue(job)
        await serving(answer).take(job)
        assert bool(await redis.hexists(keys.pace("q"), "cost")) is known


async def test_who_leaves_before_anything_was_counted_is_charged_what_was_expected(
    serving: MakeServer, jobs: JobStore, redis: Redis, patient: tuple[ASGIApp, asyncio.Event]
) -> None:
    job = a_job(cost=40.0, tokens=30)
    await jobs.enqueue(job)
    app, begun = patient
    server = serving(app)
    serving_it = asyncio.create_task(server.take(job))
    await asyncio.wait_for(begun.wait(), 10)
    await jobs.cancel(job.id)
    server.abandon(job.id)
    await asyncio.wait_for(serving_it, 10)
    assert server.turns.take_unshared() == {job.lane: 40.0}
    assert (await Windows(redis).level(TOKENS_PER_DAY, job.member)).fits_in_s(1, 30) > 0


async def test_a_job_that_is_held_goes_back_and_its_lane_is_left_alone(
    serving: MakeServer,
    jobs: JobStore,
    redis: Redis,
    patient: tuple[ASGIApp, asyncio.Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.fairness.HOLD_S", 60)
    monkeypatch.setattr("workers.fairness.HOLD_SHARED_S", 60)
    first, second, other = a_job(most_running=1), a_job(most_running=1), a_job(most_running=1)
    for job in (first, second, other):
        await redis.hset(keys.in_flight(job.member), job.id, "w 1 0 1.5")
        await jobs.enqueue(job)
    await redis.delete(first.lane)
    server = serving(patient[0])
    serving_it = asyncio.create_task(server.take(first))
    await asyncio.wait_for(patient[1].wait(), 10)
    await server.take(second)
    await server.take(msgspec.structs.replace(other, shares_lane=True))
    assert await state(jobs, second) is State.QUEUED
    messages = [json.loads(message)["headers"]["id"] for message in await redis.lrange(first.lane, 0, -1)]
    assert messages == [other.id, second.id]  # a lane is served from its end
    assert first.lane not in server.turns.lanes([first.lane])
    await jobs.cancel(first.id)
    server.abandon(first.id)
    await asyncio.wait_for(serving_it, 10)
    assert first.lane in server.turns.lanes([first.lane])


async def test_what_a_dead_engine_says_is_not_passed_on_and_ends_nothing(
    serving: MakeServer, jobs: JobStore, job: Job, frames: list[Frame]
) -> None:
    alive = [True]

    async def dies(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: half", "more_body": True})
        alive.clear()
        await send({"type": "http.response.body", "body": b'data: {"error": "engine died"}\n\ndata: [DONE]\n\n'})

    server = serving(dies)
    server.healthy = lambda: bool(alive)
    await server.take(job)

    assert [type(frame) for frame in frames] == [Start, Body]
    assert await state(jobs, job) is State.RUNNING, "for a front to take back"


async def test_what_a_stopping_worker_cannot_finish_is_left_behind(
    serving: MakeServer, jobs: JobStore, job: Job, frames: list[Frame]
) -> None:
    spoke = asyncio.Event()

    async def long(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        spoke.set()
        await receive()
        await send({"type": "http.response.body", "body": b'data: {"error": "aborted"}'})
        raise asyncio.CancelledError

    server = serving(long)
    serving_it = asyncio.create_task(server.take(job))
    await asyncio.wait_for(spoke.wait(), 10)
    server.leave_behind()
    await asyncio.wait_for(serving_it, 10)

    assert [type(frame) for frame in frames] == [Start]
    assert await state(jobs, job) is State.RUNNING, "for a front to take back"
    assert server.running == {}


async def test_what_its_client_has_left_is_not_left_behind_but_cancelled(
    serving: MakeServer, jobs: JobStore, job: Job, patient: tuple[ASGIApp, asyncio.Event], redis: Redis
) -> None:
    server = serving(patient[0])
    serving_it = asyncio.create_task(server.take(job))
    await asyncio.wait_for(patient[1].wait(), 10)
    server.abandon(job.id)
    server.leave_behind()
    await asyncio.wait_for(serving_it, 10)
    assert await state(jobs, job) is State.CANCELLED


async def test_a_worker_that_gets_its_own_job_again_ends_the_attempt_before(
    serving: MakeServer, jobs: JobStore, job: Job, redis: Redis
) -> None:
    """It was held up for so long that it seemed dead: the job was taken back, and it is first to claim it once more."""
    began, left = asyncio.Event(), list[int]()

    async def engine(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if not began.is_set():
            began.set()
            await receive()
            left.append(1)
            return
        assert left == [1], "one attempt at a time"
        await send({"type": "http.response.body", "body": b"whole"})

    server = serving(engine)
    first = asyncio.create_task(server.take(job))
    await asyncio.wait_for(began.wait(), 10)
    await jobs.take_back(job.id, 1, Past())
    await asyncio.wait_for(server.take(job), 10)
    await asyncio.wait_for(first, 10)

    assert await state(jobs, job) is State.DONE
    assert server.running == {}
