"""What clients see of their wait: comments in a stream that is opened early, headers, or a refusal in time."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import orjson
import pytest
from redis.asyncio import Redis

import api.comments
import api.tell
from familyai import keys
from familyai.catalogue import Profile
from familyai.errors import Unavailable
from familyai.frame import Failed
from familyai.jobs import State
from familyai.line import Place
from tests.api.support import LIMIT_S, MESSAGE, PROFILE, ScriptedWorker, Served, until

CHAT = "/v1/chat/completions"
REFUSED = {
    "error": {"message": "max_tokens is too large", "type": "BadRequestError", "param": "max_tokens", "code": 400}
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are opened as soon as a view of the line can have their job, and say all that is new."""
    monkeypatch.setattr(api.tell, "OPEN_AFTER_S", api.tell.SEEN_AFTER_S)
    for module in (api.tell, api.comments):
        monkeypatch.setattr(module, "AT_MOST_EVERY_S", 0.02)


@pytest.fixture
def looked_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs whose place was asked for, and told."""
    found: list[str] = []
    place = served.front.lines.place

    async def noted(job_id: str, queue: str) -> Place | None:
        known = await place(job_id, queue)
        found.append(job_id)
        return known

    monkeypatch.setattr(served.front.lines, "place", noted)
    return found


async def measured(redis: Redis, seconds_per_cost: float, queue: str = "chat") -> None:
    await redis.hset(keys.pace(queue), mapping={"busy_s": seconds_per_cost * 1000, "cost": 1000})


@asynccontextmanager
async def stream(served: Served, path: str = CHAT, **headers: str) -> AsyncIterator[httpx.Response]:
    """Open as soon as the front opens it."""
    least = MESSAGE if path == "/v1/messages" else {"model": "auto"}
    async with (
        asyncio.timeout(LIMIT_S),
        served.client.stream("POST", path, json=least | {"stream": True}, headers=headers) as response,
    ):
        yield response


class Heard:
    """What has come of a body so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.text = ""
        self._chunks = response.aiter_text()

    async def until(self, words: str) -> str:
        """All up to and including these words."""
        while words not in self.text:
            self.text += await anext(self._chunks)
        before, _, self.text = self.text.partition(words)
        return before + words

    async def rest(self) -> str:
        return self.text + "".join([chunk async for chunk in self._chunks])


@pytest.mark.usefixtures("impatient")
class TestComments:
    async def test_a_stream_counts_down_and_then_speaks(
        self, served: Served, worker: ScriptedWorker, redis: Redis
    ) -> None:
        await measured(redis, 0.001)
        ahead = asyncio.create_task(served.chat())
        first = await worker.next()
        async with stream(served) as response:
            heard = Heard(response)
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"
            assert response.headers["x-familyai-queue-position"] == "2"
            assert response.headers["x-familyai-queue-eta-s"] == "0"  # four run at once
            assert "x-familyai-queue-wait-ms" not in response.headers
            assert (await heard.until("\n")) == ": queued position=2 eta_s=0\n"

            claim = await worker.jobs.claim(first, "chat", worker.id)
            await heard.until(": queued position=1 eta_s=0\n")
            mine = await worker.take()
            assert mine.job.id == response.headers["x-familyai-job-id"]
            await heard.until(": started\n")
            await worker.start(mine)
            await worker.write(mine, b"data: 1\n\n", b"data: [DONE]\n\n")
            await worker.end(mine)
            assert await heard.rest() == "id: 1\ndata: 1\n\nid: 2\ndata: [DONE]\n\n"
        await worker.answer(claim, b"{}")  # type: ignore[arg-type]
        assert (await ahead).status_code == 200

    async def test_openais_client_sees_the_answer_only(self, served: Served, worker: ScriptedWorker) -> None:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as client:
            opening = client.chat.completions.create(model="auto", messages=[], stream=True)
            asking = asyncio.create_task(opening)
            chunks = await asking
            claim = await worker.take()
            await worker.start(claim)
            await worker.write(claim, b'data: {"choices": [], "id": "a"}\n\n', b"data: [DONE]\n\n")
            await worker.end(claim)
            assert [chunk.id async for chunk in chunks] == ["a"]

    @pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
    async def test_openais_client_raises_what_the_engine_refuses(
        self, served: Served, worker: ScriptedWorker, path: str
    ) -> None:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as client:
            stream: Any
            if path == CHAT:
                stream = await client.chat.completions.create(model="auto", messages=[], stream=True)
            else:
                stream = await client.responses.create(model="auto", input="x", stream=True)
            await worker.answer(await worker.take(), orjson.dumps(REFUSED), status=400)
            if path == CHAT:
                with pytest.raises(openai.APIError, match="max_tokens is too large"):
                    _ = [event async for event in stream]
            else:
                (event,) = [event async for event in stream]
                assert (event.type, event.message) == ("error", "max_tokens is too large")

    @pytest.mark.parametrize(
        ("path", "last"),
        [
            (CHAT, b"data: " + orjson.dumps(REFUSED) + b"\n\n"),
            ("/v1/completions", b"data: " + orjson.dumps(REFUSED) + b"\n\n"),
            (
                "/v1/responses",
                b'event: error\ndata: {"type":"error","code":"400","message":"max_tokens is too large",'
                b'"param":"max_tokens","sequence_number":0}\n\n',
            ),
            (
                "/v1/messages",
                b'event: error\ndata: {"type":"error","error":{"type":"invalid_request_error",'
                b'"message":"max_tokens is too large"}}\n\n',
            ),
        ],
    )
    async def test_a_refusal_after_that_is_an_event(
        self, served: Served, worker: ScriptedWorker, path: str, last: bytes
    ) -> None:
        async with stream(served, path) as response:
            await worker.answer(await worker.take(), orjson.dumps(REFUSED), status=400)
            body = await response.aread()
        assert re.sub(rb": (queued position=1|started)\n", b"", body) == last
        assert response.status_code == 200

    async def test_a_worker_that_fails_it_is_an_event(self, served: Served, worker: ScriptedWorker) -> None:
        async with stream(served) as response:
            claim = await worker.take()
            await worker.say(claim, Failed(claim.job.id, 1, 0, "engine_failed", "boom"))
            body = (await response.aread()).decode()
        assert body.endswith(
            'data: {"error":{"message":"boom","type":"server_error","param":null,"code":"engine_failed"}}\n\n'
        )

    async def test_a_client_that_leaves_meanwhile_is_not_served(self, served: Served, worker: ScriptedWorker) -> None:
        async with stream(served) as response:
            job_id = response.headers["x-familyai-job-id"]

        async def cancelled() -> bool:
            (record,) = await worker.jobs.records([job_id])
            return record.state is State.CANCELLED

        await until(cancelled, "the job is cancelled")
        assert await worker.jobs.claim(await worker.next(), "chat", worker.id) is None
        await until(lambda: served.front.replies.all() == [], "nothing is left of it")

    async def test_a_front_that_stops_says_so(self, served: Served, worker: ScriptedWorker) -> None:
        async with stream(served) as response:
            served.front.replies.fail_all(Unavailable("stopping", code="stopping"))
            assert b'"code":"stopping"' in await response.aread()

    async def test_a_line_that_cannot_be_seen_stops_nothing(
        self, served: Served, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place, is_down = served.front.lines.place, asyncio.Event()

        async def sometimes(job_id: str, queue: str) -> Place | None:
            if is_down.is_set():
                raise Unavailable("the broker is down")
            return await place(job_id, queue)

        monkeypatch.setattr(served.front.lines, "place", sometimes)
        monkeypatch.setattr(api.comments, "AT_LEAST_EVERY_S", 0.05)
        async with stream(served) as response:
            heard = Heard(response)
            await heard.until(": queued position=1\n")
            is_down.set()
            for _ in range(3):
                assert await heard.until("\n") == ": queued position=1\n", "it is kept alive"
            is_down.clear()
            await worker.answer(await worker.take(), b"data: 1\n\n", headers=((b"content-type", b"text/event-stream"),))
            assert (await heard.rest()).endswith("data: 1\n\n")

    class TestDeadline:
        @pytest.fixture
        def profile(self) -> Profile:
            return Profile.model_validate(PROFILE | {"limits": {"queue_wait_s": 2}})

        async def test_who_waited_too_long_is_told_in_the_stream(self, served: Served, worker: ScriptedWorker) -> None:
            async with stream(served) as response:
                body = (await response.aread()).decode()
            comments, _, last = body.rpartition("data: ")
            assert orjson.loads(last)["error"]["code"] == "queue_timeout"
            assert set(comments.split("\n")) == {": queued position=1", ""}

    async def test_another_body_stays_closed_and_says_where_it_stood(
        self, served: Served, worker: ScriptedWorker, redis: Redis, looked_for: list[str]
    ) -> None:
        await measured(redis, 0.001)
        asking = [asyncio.create_task(served.chat()) for _ in range(2)]
        await until(lambda: len(looked_for) == 2, "both have been looked for")
        for _ in asking:
            await worker.answer(await worker.take(), b"{}")
        responses = [await one for one in asking]
        assert sorted(response.headers["x-familyai-queue-position"] for response in responses) == ["1", "2"]
        assert {response.headers["x-familyai-queue-eta-s"] for response in responses} == {"0"}
        assert all(int(response.headers["x-familyai-queue-wait-ms"]) > 0 for response in responses)

    @pytest.mark.parametrize("body", [{"stream": "true"}, {"stream": 1}, {}])
    async def test_whoever_asks_for_no_stream_gets_none(
        self, served: Served, worker: ScriptedWorker, looked_for: list[str], body: dict[str, Any]
    ) -> None:
        asking = asyncio.create_task(served.chat(**body))
        await until(lambda: len(looked_for) == 1, "it has been looked for")
        await worker.answer(await worker.take(), orjson.dumps(REFUSED), status=400)
        response = await asking
        assert (response.status_code, response.json()) == (400, REFUSED)

    async def test_a_count_of_tokens_is_no_stream(
        self, served: Served, worker: ScriptedWorker, looked_for: list[str]
    ) -> None:
        asking = asyncio.create_task(served.chat("/v1/messages/count_tokens", stream=True))
        await until(lambda: len(looked_for) == 1, "it has been looked for")
        await worker.answer(await worker.take(), b'{"input_tokens": 7}')
        assert (await asking).json() == {"input_tokens": 7}


async def test_whoever_starts_at_once_is_not_looked_for(
    served: Served, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def place(job_id: str, queue: str) -> Place | None:
        raise AssertionError("somebody was looked for")

    monkeypatch.setattr(served.front.lines, "place", place)
    monkeypatch.setattr("api.tell.SEEN_AFTER_S", 20)
    for wants_stream in (True, False):
        asking = asyncio.create_task(served.chat(stream=wants_stream))
        await worker.answer(await worker.take(), b"{}")
        response = await asking
        assert (response.status_code, response.content) == (200, b"{}")
        assert "x-familyai-queue-position" not in response.headers


# --- no wait that would be in vain ---


async def filled(
    served: Served, redis: Redis, number: int, seconds_per_job: float | None = None
) -> list[asyncio.Task[httpx.Response]]:
    """A line of so many, as this front sees it."""
    asking = [asyncio.create_task(served.chat()) for _ in range(number)]

    async def all_wait() -> bool:
        return await redis.hlen(keys.backlog("chat")) == number

    async def seen() -> bool:
        line, _ = await served.front.lines.seen("chat")
        return len(line.waiting) == number and (line.seconds_per_cost is None) == (seconds_per_job is None)

    await until(all_wait, "all wait")
    if seconds_per_job is not None:
        await measured(redis, seconds_per_job / await cost_of(redis))
    await until(seen, "the front sees it")
    return asking


async def ended(asking: list[asyncio.Task[httpx.Response]]) -> None:
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def cost_of(redis: Redis) -> float:
    ticket, *_ = await redis.hvals(keys.backlog("chat"))
    return float(orjson.loads(ticket)[4])


async def test_a_deadline_that_cannot_be_kept_is_refused_at_once(
    served: Served, worker: ScriptedWorker, redis: Redis
) -> None:
    asking = await filled(served, redis, 9, seconds_per_job=100)  # four at a time of one lane: its turn is in 200 s
    response = await served.client.post(CHAT, json={"model": "auto"}, headers={"X-FamilyAI-Deadline-S": "60"})

    assert response.status_code == 429
    assert response.json()["error"] == {
        "message": "The line is long: your turn would come in about 4 minutes, and this question waits 60 seconds at "
        "most. Try again in 3 minutes.",
        "type": "rate_limit_error",
        "param": None,
        "code": "deadline",
    }
    assert response.headers["retry-after"] == "140"
    assert "x-familyai-job-id" not in response.headers, "it became none"
    assert await worker.jobs.waiting("chat") == 9
    assert await redis.hlen(keys.in_flight("ada")) == 9, "what it had reserved is given back"
    await ended(asking)


async def test_who_lets_others_go_first_has_a_deadline_all_the_same(
    served: Served, worker: ScriptedWorker, redis: Redis
) -> None:
    asking = await filled(served, redis, 9, seconds_per_job=100)
    headers = {"X-FamilyAI-Deadline-S": "60", "X-FamilyAI-Priority": "batch"}
    response = await served.client.post(CHAT, json={"model": "auto"}, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (429, "deadline")
    assert await worker.jobs.waiting("chat") == 9
    await ended(asking)


@pytest.mark.parametrize("headers", [{"X-FamilyAI-Deadline-S": "300"}, {}])
async def test_whose_turn_comes_in_time_waits(
    served: Served, worker: ScriptedWorker, redis: Redis, headers: dict[str, str]
) -> None:
    asking = await filled(served, redis, 9, seconds_per_job=100)
    asking.append(asyncio.create_task(served.client.post(CHAT, json={"model": "auto"}, headers=headers)))

    async def waits() -> bool:
        return await worker.jobs.waiting("chat") == 10

    await until(waits, "it waits")
    await ended(asking)


async def test_whose_turn_nobody_can_tell_waits(served: Served, worker: ScriptedWorker, redis: Redis) -> None:
    asking = await filled(served, redis, 9)
    asking.append(
        asyncio.create_task(served.client.post(CHAT, json={"model": "auto"}, headers={"X-FamilyAI-Deadline-S": "0.9"}))
    )

    async def waits() -> bool:
        return await worker.jobs.waiting("chat") == 10

    await until(waits, "it waits")
    await ended(asking)


class TestAFullLine:
    @pytest.fixture
    def profile(self) -> Profile:
        return Profile.model_validate(PROFILE | {"limits": {"waiting": 8}})

    async def test_says_how_fast_it_moves(self, served: Served, worker: ScriptedWorker, redis: Redis) -> None:
        asking = await filled(served, redis, 8, seconds_per_job=12)
        response = await served.chat()

        assert (response.status_code, response.json()["error"]["code"]) == (429, "line_too_long")
        assert response.headers["retry-after"] == "3"
        assert response.json()["error"]["message"].endswith("Try again in 3 seconds.")
        assert await redis.hlen(keys.in_flight("ada")) == 8
        await ended(asking)
