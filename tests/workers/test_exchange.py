import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message

from familyai.frame import Body, End, Failed, Frame, Start, Tokens
from familyai.job import Blob
from familyai.jobs import Claim
from familyai.past import Past
from tests.support import a_job
from workers.exchange import MAX_BODY_BYTES, Emit, Exchange
from workers.meter import Meter

JOB = a_job(
    id="job-1",
    path="/v1/chat/completions?a=b%20c",
    headers=(("Content-Type", "application/json"),),
    body=b'{"x": 1}',
)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def into(frames: list[Frame]) -> Emit:
    """All that is news."""

    def put(frame: Frame, *, is_known: bool) -> None:
        if not is_known:
            frames.append(frame)

    return put


@pytest.fixture
def frames() -> list[Frame]:
    return []


@pytest.fixture
def exchange(frames: list[Frame]) -> Exchange:
    made = Exchange(Claim(JOB, attempt=3, queue_wait_s=0.5), Meter(), "w", into(frames))
    made.request(chunks(b'{"x": 1}'))
    return made


def start(status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def test_scope_carries_path_query_and_pins_the_request_id(exchange: Exchange) -> None:
    scope = exchange.scope({})
    assert (scope["path"], scope["query_string"]) == ("/v1/chat/completions", b"a=b%20c")
    assert dict(scope["headers"]) == {
        b"content-type": b"application/json",
        b"x-request-id": b"job-1",
        b"content-length": b"8",
    }


async def test_receive_gives_the_body_once_then_waits_for_the_disconnect(exchange: Exchange) -> None:
    assert await exchange.receive() == {"type": "http.request", "body": b'{"x": 1}', "more_body": False}
    waiting = asyncio.create_task(exchange.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    exchange.leave()
    assert await waiting == {"type": "http.disconnect"}


async def test_a_body_in_pieces_is_read_to_its_end_and_not_further() -> None:
    job = a_job(body=b"head", blob=Blob("files/x", 3, 8), tail=b"tail")
    exchange = Exchange(Claim(job, attempt=1, queue_wait_s=0), Meter(), "w", into([]))
    exchange.request(chunks(b"head", b"blob", b"blob", b"tail", b"never"))
    read = [await exchange.receive() for _ in range(4)]
    assert [message["body"] for message in read] == [b"head", b"blob", b"blob", b"tail"]
    assert [message["more_body"] for message in read] == [True, True, True, False]
    assert (b"content-length", b"16") in exchange.scope({})["headers"]


async def test_frames_are_numbered_without_a_gap(exchange: Exchange, frames: list[Frame]) -> None:
    await exchange.send(start())
    await exchange.send(body(b"one", more=True))
    await exchange.send(body(b"two"))
    assert [type(frame) for frame in frames] == [Start, Body, Body, End]
    assert [(frame.seq, frame.attempt) for frame in frames] == [(0, 3), (1, 3), (2, 3), (3, 3)]


async def test_tokens_travel_with_the_first_bytes_after_them(exchange: Exchange, frames: list[Frame]) -> None:
    await exchange.send(start())
    exchange.meter.saw_prompt(4)
    await exchange.send(body(b"one", more=True))
    exchange.meter.saw_tokens(0, [5])
    await exchange.send(body(b""))
    assert isinstance(frames[1], Body)
    assert frames[1].tokens
    assert frames[1].tokens.prompt == 4
    assert isinstance(frames[2], End)
    assert frames[2].tokens
    assert frames[2].tokens.ids == ((5,),)


async def test_a_large_body_is_cut_into_bounded_frames(exchange: Exchange, frames: list[Frame]) -> None:
    data = bytes(range(256)) * (MAX_BODY_BYTES // 100)
    await exchange.send(start())
    await exchange.send(body(data))
    parts = [frame.data for frame in frames if isinstance(frame, Body)]
    assert b"".join(parts) == data
    assert max(map(len, parts)) <= MAX_BODY_BYTES


async def test_nothing_follows_the_end(exchange: Exchange, frames: list[Frame]) -> None:
    await exchange.send(start())
    await exchange.send(body(b"all"))
    await exchange.send(body(b"late"))
    exchange.fail("engine_failed", "too late")
    assert isinstance(frames[-1], End)


async def test_a_failure_is_the_last_frame(exchange: Exchange, frames: list[Frame]) -> None:
    await exchange.send(start())
    exchange.fail("engine_failed", "broken")
    await exchange.send(body(b"late"))
    assert frames[-1] == Failed("job-1", 3, 1, "engine_failed", "broken")


async def test_nothing_is_sent_to_one_who_left(exchange: Exchange, frames: list[Frame]) -> None:
    exchange.leave()
    await exchange.send(start())
    await exchange.send(body(b"all"))
    assert frames == []


async def test_what_an_earlier_attempt_has_sent_is_not_sent_again() -> None:
    frames, meter = list[Frame](), Meter()
    exchange = Exchange(Claim(JOB, 2, 0, Past(frames=3, outputs=((1,), (2,)))), meter, "w", into(frames))
    await exchange.send(start())
    for number, word in enumerate((b"a", b"b", b"c")):
        meter.saw_tokens(0, [number])
        await exchange.send(body(word, more=True))
    await exchange.send(body(b""))

    assert [(frame.seq, frame.attempt) for frame in frames] == [(3, 2), (4, 2)]
    assert isinstance(frames[0], Body)
    assert (frames[0].data, frames[0].tokens) == (b"c", Tokens(0, ((2,),)))
    assert meter.generated == 3, "counted once, over both attempts"


@pytest.mark.parametrize(
    "says", [[start(400), body(b"no")], [start(), body(b"a", more=True), body(b"")], [start(), body(b"whole")]]
)
async def test_who_cannot_say_the_past_again_cannot_go_on(says: list[Message]) -> None:
    frames = list[Frame]()
    exchange = Exchange(Claim(JOB, 2, 0, Past(frames=4)), Meter(), "w", into(frames))
    for message in says:
        await exchange.send(message)

    (failed,) = frames
    assert isinstance(failed, Failed)
    assert (failed.seq, failed.code) == (4, "worker_lost")
    assert exchange.failed
