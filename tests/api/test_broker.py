"""The broker goes away and comes back under a front that serves."""

import asyncio

import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from api.app import create_app
from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Profile
from familyai.errors import Unavailable
from familyai.jobs import State
from familyai.settings import Settings
from tests.api.support import LIMIT_S, SSE, ScriptedWorker, Served, until
from tests.support import Broker, a_job


@pytest.fixture
def broker_url(own_broker: Broker) -> str:
    return own_broker.url


@pytest.fixture
def profile(profile: Profile) -> Profile:
    """Its open answers wait half a second for the broker."""
    limits = profile.limits.model_copy(update={"broker_wait_s": 0.5})
    return profile.model_copy(update={"limits": limits})


async def answers(served: Served) -> bool:
    """And hears what workers say: before that it reads their logs, and a scripted worker writes none by itself."""
    hears = served.front.replies.subscription.connected.is_set()
    return hears and (await served.client.get("/v1/models")).status_code == 200


async def kept(redis: Redis) -> None:
    """Returns when everything written so far is on disk."""
    await redis.execute_command("WAITAOF", 1, 0, 5000)


async def test_503_at_once_and_ready_by_itself(served: Served, own_broker: Broker, worker: ScriptedWorker) -> None:
    await kept(worker.redis)
    own_broker.kill()

    for path in ("/v1/chat/completions", "/v1/messages"):
        response = await asyncio.wait_for(served.chat(path), 5)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert (await served.client.get("/v1/models")).json()["error"]["code"] == "broker_down"
    assert (await served.client.get("/health")).status_code == 200
    ready = await served.client.get("/health/ready")
    assert (ready.status_code, ready.json()["parts"]["broker"]) == (503, "does not answer")
    assert "familyai_broker_up 0.0" in (await served.client.get("/metrics")).text

    own_broker.start()
    await until(lambda: answers(served), "the front answers again")
    asking = asyncio.create_task(served.chat())
    await worker.answer(await worker.take(), b"{}")
    assert (await asking).status_code == 200


async def test_open_answers_end_with_an_error_when_it_stays_away(
    served: Served, own_broker: Broker, worker: ScriptedWorker
) -> None:
    queued = asyncio.create_task(served.chat())
    await worker.next()
    streaming = asyncio.create_task(served.chat(stream=True))
    claim = await worker.take()
    await worker.start(claim, SSE)
    await worker.write(claim, b"data: 1\n\n")
    own_broker.kill()

    assert ((await queued).status_code, (await queued).json()["error"]["code"]) == (503, "broker_down")
    assert (await streaming).content.startswith(b'id: 1\ndata: 1\n\ndata: {"error":')
    assert b"broker_down" in (await streaming).content
    assert served.front.replies.all() == []


async def test_jobs_whose_clients_were_sent_away_do_not_run_after_the_restart(
    served: Served, own_broker: Broker, worker: ScriptedWorker
) -> None:
    asking = asyncio.create_task(served.chat())
    delivery = await worker.next()
    job_id = delivery.job_id
    await kept(worker.redis)
    own_broker.kill()
    assert (await asking).status_code == 503

    own_broker.start()
    await until(lambda: _cancelled(worker, job_id), "the job is cancelled")
    assert await worker.jobs.claim(delivery, "chat", worker.id) is None


async def _cancelled(worker: ScriptedWorker, job_id: str) -> bool:
    try:
        (record,) = await worker.jobs.records([job_id])
    except BROKER_ERRORS:
        return False
    return record.state is State.CANCELLED


async def test_a_job_that_begins_to_answer_nobody_is_stopped(served: Served, worker: ScriptedWorker) -> None:
    job = a_job(queue="chat", front=served.front.id)
    await worker.jobs.enqueue(job)
    claim = await worker.take()
    await worker.start(claim)

    await until(lambda: _cancelled(worker, job.id), "the job is cancelled")


async def test_a_broker_that_hangs_does_not_delay_the_refusal(
    served: Served, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = asyncio.Event()

    async def hang(*_: str) -> None:
        heard.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(served.front.jobs, "cancel", hang)
    monkeypatch.setattr("api.withdraw.LAST_TRIES_S", 0.01)
    asking = asyncio.create_task(served.chat())
    await worker.next()
    served.front.replies.fail_all(Unavailable("gone", code="broker_down"))

    assert (await asking).status_code == 503
    await asyncio.wait_for(heard.wait(), LIMIT_S)


@pytest.mark.parametrize("vital", ["api.watch.Watch.run", "familyai.subscription.Subscription.run"])
async def test_a_front_that_lost_a_vital_part_ends(
    settings: Settings, profile: Profile, monkeypatch: pytest.MonkeyPatch, vital: str
) -> None:
    ended = asyncio.Event()

    async def fail(_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(vital, fail)
    monkeypatch.setattr("api.front.end_process", ended.set)
    async with create_app(settings, profile).router.lifespan_context(FastAPI()):
        await asyncio.wait_for(ended.wait(), LIMIT_S)


async def test_stale_bodies_are_looked_for_again_and_again(
    settings: Settings, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: asyncio.Queue[float] = asyncio.Queue()

    async def older_than(_: object, age_s: float) -> list[str]:
        swept.put_nowait(age_s)
        raise OSError("no disk")

    monkeypatch.setattr("familyai.blobs.BlobStore.older_than", older_than)
    monkeypatch.setattr("api.sweep.INTERVAL_S", 0.001)
    async with create_app(settings, profile).router.lifespan_context(FastAPI()):
        for _ in range(3):
            assert await asyncio.wait_for(swept.get(), LIMIT_S) == profile.limits.record_ttl_s


async def test_a_front_may_start_before_its_broker(own_broker: Broker, settings: Settings, profile: Profile) -> None:
    own_broker.kill()
    app = create_app(settings, profile)
    async with app.router.lifespan_context(app):
        replies = app.state.front.replies
        with pytest.raises(Unavailable, match="broker is down"):
            replies.check_connected()
        own_broker.start()
        await until(replies.subscription.connected.is_set, "the front has subscribed")


async def test_a_silent_subscription_loss_is_noticed(served: Served, worker: ScriptedWorker) -> None:
    """The broker drops only the subscriber, as it does when one reads too slowly: what it missed stands in the log."""
    asking = asyncio.create_task(served.chat())
    claim = await worker.take()
    lost = served.front.replies.subscription
    await worker.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    async with asyncio.timeout(LIMIT_S):
        while lost.connected.is_set():  # noqa: ASYNC110 (nothing is set when it is lost)
            await asyncio.sleep(0)
    await worker.log(claim, b"{}")

    assert (await asking).json() == {}
    await until(lambda: answers(served), "the front answers again")
