"""A request's way through the queue and an answer's way back, whole and broken, over sockets and the real broker."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from redis.asyncio import Redis

import api.replies
import api.tell
from api.comments import STILL_HERE
from familyai import keys
from familyai.catalogue import Profile
from familyai.frame import Body, End, Failed, Start
from familyai.job_log import JobLog, entry
from familyai.jobs import State
from tests.api.support import JSON, LIMIT_S, MESSAGE, PROFILE, ScriptedWorker, Served, until

CHAT = "/v1/chat/completions"


async def state_of(worker: ScriptedWorker, job_id: str) -> State | None:
    (record,) = await worker.jobs.records([job_id])
    return record.state


async def test_the_engine_sees_what_was_checked_and_no_more(served: Served, worker: ScriptedWorker) -> None:
    content = b'{"request_id": "mine", "background": null, "priority": 0, '
    content += b'"model": "gpt-9", "n": 99, "x": {"\xc3\xa9": [1.5, null]}, "n": 2, "model": "chat-light"}'
    asking = asyncio.create_task(served.client.post(CHAT, content=content, headers={"Accept": "text/event-stream"}))

    claim = await worker.take()
    await worker.answer(claim, b"{}")
    await asking

    assert orjson.loads(claim.job.body) == {"model": "org/chat", "n": 2, "x": {"é": [1.5, None]}}
    assert dict(claim.job.headers) == {"content-type": "application/json", "accept": "text/event-stream"}
    assert (claim.job.method, claim.job.path) == ("POST", CHAT)
    assert (claim.job.queue, claim.job.model, claim.job.member, claim.job.width) == ("chat", "org/chat", "ada", 2)


@pytest.mark.parametrize(
    "path",
    [CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"],
)
async def test_every_endpoint_relays_bytes_as_they_are(served: Served, worker: ScriptedWorker, path: str) -> None:
    asking = asyncio.create_task(served.chat(path, model="chat-light"))
    claim = await worker.take()
    await worker.answer(claim, b'{"text": "caf\xc3', b'\xa9"}', status=202, headers=((b"x-engine", b"1"), *JSON))
    response = await asking

    assert claim.job.path == path
    assert (response.status_code, response.content) == (202, b'{"text": "caf\xc3\xa9"}')
    assert (response.headers["x-engine"], response.headers["content-type"]) == ("1", "application/json")
    assert response.headers["x-familyai-job-id"] == claim.job.id
    assert response.headers["x-familyai-model"] == "org/chat"
    assert response.headers["x-familyai-queue"] == "chat-light"
    assert int(response.headers["x-familyai-queue-wait-ms"]) >= 0


@pytest.mark.parametrize("host", ["x/tokenize?", "x/v1/messages?", "x#"])
async def test_a_host_header_is_no_path(served: Served, worker: ScriptedWorker, host: str) -> None:
    asking = asyncio.create_task(served.client.post(CHAT, json={"model": "auto"}, headers={"Host": host}))
    claim = await worker.take()
    await worker.say(claim, Failed(claim.job.id, 1, 0, "engine_failed", "boom"))

    assert claim.job.path == CHAT
    assert (await asking).json()["error"]["type"] == "server_error"  # OpenAI's word, not Anthropic's
    unknown = await served.client.get("/nowhere", headers={"Host": host})
    assert "nothing at /nowhere;" in unknown.json()["error"]["message"]


async def test_embeddings_go_to_a_model_that_embeds(served: Served, redis: Redis) -> None:
    worker = ScriptedWorker(redis, queue="vectors")
    await worker.beat()
    asking = asyncio.create_task(served.client.post("/v1/embeddings", json={"model": "vectors", "input": ["a"] * 40}))
    claim = await worker.take()
    await worker.answer(claim, b'{"data": []}')

    assert (await asking).json() == {"data": []}
    assert claim.job.width == 2


async def test_a_stream_is_relayed_while_it_is_written(served: Served, worker: ScriptedWorker) -> None:
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(_open(served))
        claim = await worker.take()
        await worker.start(claim)
        response = await opening
        chunks = response.aiter_raw()
        for number, part in ((b"id: 1\n", b"data: 1\n\n"), (b"id: 2\n", b"data: caf\xc3"), (b"", b"\xa9\n\n")):
            await worker.write(claim, part)
            assert await anext(chunks) == number + part  # before the next one is written
        await worker.end(claim)
        assert [chunk async for chunk in chunks] == []
    await response.aclose()


async def _open(served: Served, path: str = CHAT) -> httpx.Response:
    request = served.client.build_request("POST", path, json={"model": "auto", "stream": True})
    return await served.client.send(request, stream=True)


async def test_a_silent_stream_says_that_it_lives_but_never_within_an_event(
    served: Served, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.tell, "AT_LEAST_EVERY_S", 0.02)
    opening = asyncio.create_task(_open(served))
    claim = await worker.take()
    await worker.start(claim)
    await worker.write(claim, b"data: 1\n\n")
    response = await opening
    chunks, received = response.aiter_raw(), b""
    while not received.endswith(STILL_HERE):
        received += await anext(chunks)
    for part in (b"data: 2", b"\n\n"):
        await worker.write(claim, part)
    await worker.end(claim)
    received += b"".join([chunk async for chunk in chunks])

    assert received.replace(STILL_HERE, b"") == b"id: 1\ndata: 1\n\nid: 2\ndata: 2\n\n"


async def test_many_at_once_get_their_own_answers(served: Served, worker: ScriptedWorker) -> None:
    async def ask(number: int) -> None:
        response = await served.chat(number=number)
        assert response.json() == {"number": number}

    async def answer() -> None:
        claims = [await worker.take() for _ in range(50)]
        for claim in claims:
            await worker.start(claim, JSON)
        for claim in reversed(claims):
            number = orjson.loads(claim.job.body)["number"]
            await worker.write(claim, orjson.dumps({"number": number}))
            await worker.end(claim)

    await asyncio.gather(answer(), *(ask(number) for number in range(50)))
    assert served.front.replies.all() == []


async def test_a_burst_wider_than_the_pool_of_connections(served: Served, worker: ScriptedWorker) -> None:
    async with httpx.AsyncClient(
        base_url=served.url,
        headers={"Authorization": f"Bearer {served.key}"},
        limits=httpx.Limits(max_connections=None),
        timeout=LIMIT_S * 2,
        trust_env=False,
    ) as client:
        asking = [asyncio.create_task(client.post(CHAT, json={"model": "auto"})) for _ in range(200)]
        for _ in asking:
            await worker.answer(await worker.take(), b"{}")
        responses = await asyncio.gather(*asking)

    assert {response.status_code for response in responses} == {200}


async def test_a_failure_before_the_first_byte_is_a_status(served: Served, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(served.chat())
    claim = await worker.take()
    await worker.say(claim, Failed(claim.job.id, 1, 0, "engine_failed", "out of memory"))
    response = await asking

    assert (response.status_code, response.headers["x-familyai-job-id"]) == (500, claim.job.id)
    assert response.json()["error"] == {
        "message": "out of memory",
        "type": "server_error",
        "param": None,
        "code": "engine_failed",
    }


@pytest.mark.parametrize(
    ("path", "last"),
    [
        (CHAT, b'data: {"error":{"message":"boom","type":"server_error","param":null,"code":"engine_failed"}}\n\n'),
        (
            "/v1/completions",
            b'data: {"error":{"message":"boom","type":"server_error","param":null,"code":"engine_failed"}}\n\n',
        ),
        (
            "/v1/responses",
            b'event: error\ndata: {"type":"error","code":"engine_failed","message":"boom",'
            b'"param":null,"sequence_number":1}\n\n',
        ),
        ("/v1/messages", b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"boom"}}\n\n'),
    ],
)
@pytest.mark.parametrize(("half", "closed"), [(b"", b""), (b'data: {"half', b'id: 2\ndata: {"half\nid: 1\n\n')])
async def test_a_failure_in_a_stream_is_its_last_event(
    served: Served, worker: ScriptedWorker, path: str, last: bytes, half: bytes, closed: bytes
) -> None:
    asking = asyncio.create_task(served.chat(path, stream=True))
    claim = await worker.take()
    await worker.start(claim)
    await worker.write(claim, b"data: 1\n\n" + half)
    await worker.say(claim, Failed(claim.job.id, 1, 2, "engine_failed", "boom"))
    response = await asking

    assert response.status_code == 200
    assert response.content == b"id: 1\ndata: 1\n\n" + closed + last


@pytest.mark.parametrize("headers", [JSON, (*JSON, (b"content-length", b"100"))])
async def test_a_failure_in_any_other_body_cuts_the_connection(
    served: Served, worker: ScriptedWorker, headers: Any
) -> None:
    asking = asyncio.create_task(served.chat())
    claim = await worker.take()
    await worker.start(claim, headers)
    await worker.write(claim, b'{"half": ')
    await worker.say(claim, Failed(claim.job.id, 1, 2, "engine_failed", "boom"))

    with pytest.raises(httpx.RemoteProtocolError):
        await asking


async def test_a_gap_in_the_frames_and_in_their_log_is_no_answer(served: Served, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(served.chat(stream=True))
    claim = await worker.take()
    await worker.start(claim)
    await worker.write(claim, b"data: 1\n\n")
    later = Body(claim.job.id, 1, 3, b"data: 3\n\n"), End(claim.job.id, 1, 4)
    await JobLog(worker.redis, kept_s=60).append([entry(later)])
    await worker.say(claim, *later)
    response = await asking

    assert response.content.startswith(b'id: 1\ndata: 1\n\ndata: {"error":')
    assert b"reply_lost" in response.content
    assert b"data: 3" not in response.content
    await until(lambda: _is(worker, claim.job.id, State.CANCELLED), "the job is cancelled")


async def _is(worker: ScriptedWorker, job_id: str, state: State) -> bool:
    return await state_of(worker, job_id) is state


async def test_an_unreadable_message_harms_nobody(served: Served, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(served.chat())
    claim = await worker.take()
    await worker.redis.publish(keys.reply(claim.job.front), b"\xff rubbish")
    await worker.say(claim, Start("job-nobody-knows", 1, 0, 200, (), "w", 0))
    await worker.answer(claim, b"{}")

    assert (await asking).json() == {}


# --- the client leaves ---


async def test_a_client_that_leaves_the_queue_is_not_served(served: Served, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(served.chat())
    delivery = await worker.next()
    job_id = delivery.job_id
    assert await state_of(worker, job_id) is State.QUEUED
    asking.cancel()

    await until(lambda: _is(worker, job_id, State.CANCELLED), "the job is cancelled")
    assert await worker.jobs.claim(delivery, "chat", worker.id) is None
    await until(lambda: served.front.replies.all() == [], "nothing is left of it")


async def test_a_client_that_leaves_a_stream_stops_it(served: Served, worker: ScriptedWorker) -> None:
    told = worker.redis.pubsub()
    await told.subscribe(keys.control(worker.id))
    opening = asyncio.create_task(_open(served))
    claim = await worker.take()
    await worker.start(claim)
    await worker.write(claim, b"data: 1\n\n")
    await (await opening).aclose()

    await until(lambda: _is(worker, claim.job.id, State.CANCELLED), "the job is cancelled")
    heard = [await told.get_message(timeout=LIMIT_S), await told.get_message(timeout=LIMIT_S)]
    assert heard[1] is not None
    assert heard[1]["data"] == claim.job.id.encode()
    await told.aclose()  # type: ignore[no-untyped-call]


async def test_a_client_that_does_not_read_costs_bounded_memory(
    served: Served, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.replies, "MOST_UNREAD_BYTES", 8_000_000)
    opening = asyncio.create_task(_open(served))
    claim = await worker.take()
    await worker.start(claim, ((b"content-type", b"audio/wav"),))
    idle = await opening
    for _ in range(28):  # more than that, the sockets between, and what is given to the server at once
        await worker.write(claim, bytes(1_000_000))
    await until(lambda: _is(worker, claim.job.id, State.CANCELLED), "the job is cancelled")
    assert sum(reply.unread_bytes for reply in served.front.replies.all()) <= 8_000_000

    asking = asyncio.create_task(served.chat())
    await worker.answer(await worker.take(), b"{}")
    assert (await asking).json() == {}, "others do not pay for it"
    with pytest.raises(httpx.RemoteProtocolError):  # what it has is not the whole
        await idle.aread()


async def test_a_client_that_leaves_in_its_own_sentence_is_counted_as_gone(served: Served, redis: Redis) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key}\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b'{"model": ')
    await writer.drain()
    writer.close()

    async def counted() -> bool:
        counter = f'familyai_requests_total{{path="{CHAT}",status="499"}} 1.0'
        return counter in (await served.client.get("/metrics")).text

    await until(counted, "the request is counted")
    assert await redis.llen("chat") == 0


# --- the worker is missing or dies ---


class TestImpatience:
    @pytest.fixture
    def profile(self) -> Profile:
        return Profile.model_validate(PROFILE | {"limits": {"no_worker_wait_s": 0.5, "queue_wait_s": 2}})

    async def test_a_queue_without_a_worker(self, served: Served, redis: Redis) -> None:
        response = await served.chat()

        assert (response.status_code, response.json()["error"]["code"]) == (503, "no_worker")
        assert int(response.headers["retry-after"]) > 0
        assert response.headers["x-familyai-job-id"].startswith("job-")

        async def nobody_waits() -> bool:
            return await redis.zcard(keys.waiting("chat.00")) == 0

        await until(nobody_waits, "the job has left the line")

    async def test_a_worker_that_never_gets_to_it(self, served: Served, worker: ScriptedWorker) -> None:
        response = await served.chat()

        assert (response.status_code, response.json()["error"]["code"]) == (503, "queue_timeout")
        delivery = await worker.next()
        assert response.headers["x-familyai-job-id"] == delivery.job_id
        await until(lambda: _is(worker, delivery.job_id, State.CANCELLED), "the job is cancelled")
        assert await worker.jobs.claim(delivery, "chat", worker.id) is None

    async def test_a_worker_that_dies_in_a_stream(self, served: Served, worker: ScriptedWorker) -> None:
        asking = asyncio.create_task(served.chat(stream=True, n=2))
        claim = await worker.take()
        await worker.start(claim)
        await worker.write(claim, b"data: 1\n\n")
        assert worker.life is not None
        worker.life.cancel()
        await worker.registry.leave("chat", worker.id)
        response = await asking

        assert response.content.startswith(b'id: 1\ndata: 1\n\ndata: {"error":')
        assert b"worker_lost" in response.content

    async def test_an_answer_whose_end_never_comes(self, served: Served, worker: ScriptedWorker) -> None:
        asking = asyncio.create_task(served.chat())
        claim = await worker.take()
        await worker.jobs.finish(claim.job, claim.attempt, State.DONE)

        response = await asking
        assert (response.status_code, response.json()["error"]["code"]) == (503, "reply_lost")


async def test_anthropics_own_client_key_is_enough(served: Served, worker: ScriptedWorker) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=LIMIT_S) as client:
        sending = client.post("/v1/messages", json=MESSAGE, headers={"x-api-key": served.key})
        asking = asyncio.create_task(sending)
        await worker.answer(await worker.take(), b"{}")

        assert (await asking).status_code == 200
