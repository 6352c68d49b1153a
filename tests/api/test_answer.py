"""What can still be said of an answer, after what was sent so far."""

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.answer import LARGEST_REFUSAL_BYTES, Answer, AnswerBroken
from api.failures import Dialect
from familyai.errors import Unavailable
from familyai.frame import Body, End, Frame, Start
from familyai.line import Place
from tests.support import a_job

JOB = a_job(id="job-1", queue="chat", model="org/chat")
SSE = (b"Content-Type", b"text/event-stream")
LOST = Unavailable("gone", code="worker_lost")


def answer(*headers: tuple[bytes, bytes], dialect: Dialect = Dialect.OPENAI) -> tuple[Answer, dict[bytes, bytes]]:
    begun = Answer(JOB, "chat-light", dialect, route="named")
    (message,) = begun.messages([Start("job-1", 1, 0, 200, headers, "worker-1", 0.0126)])
    return begun, dict(message["headers"])


def body(data: bytes, seq: int = 1) -> Body:
    return Body("job-1", 1, seq, data)


def test_headers_pass_but_those_of_the_engines_own_connection() -> None:
    _, headers = answer((b"Content-Length", b"2"), (b"X-Engine", b"yes"), (b"Connection", b"close"), (b"TE", b"x"))

    assert headers == {
        b"content-length": b"2",
        b"x-engine": b"yes",
        b"x-familyai-job-id": b"job-1",
        b"x-familyai-model": b"org/chat",
        b"x-familyai-queue": b"chat-light",
        b"x-familyai-queue-wait-ms": b"13",
        b"x-familyai-route": b"named",
    }


def test_what_is_there_together_is_sent_together() -> None:
    begun, _ = answer()

    assert begun.messages([body(b"a", 1), body(b"b", 2), body(b"c", 3)]) == [
        {"type": "http.response.body", "body": b"abc", "more_body": True}
    ]
    assert begun.messages([body(b"d", 4), End("job-1", 1, 5)]) == [
        {"type": "http.response.body", "body": b"d", "more_body": False}
    ]
    assert begun.ended


def test_a_whole_answer_in_one_batch() -> None:
    whole = Answer(JOB, "chat", Dialect.OPENAI, route="named")

    messages = whole.messages([Start("job-1", 1, 0, 400, (), "worker-1", 0), body(b"no"), End("job-1", 1, 2)])

    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]
    assert (messages[0]["status"], messages[1]["body"], messages[1]["more_body"]) == (400, b"no", False)


def test_before_the_start_a_failure_is_raised() -> None:
    with pytest.raises(Unavailable):
        Answer(JOB, "chat", Dialect.OPENAI, route="named").failure(LOST)


def test_what_is_raised_names_its_job_and_no_other() -> None:
    for job_id in ("job-1", "job-2"):
        with pytest.raises(Unavailable) as raised:
            Answer(a_job(id=job_id), "chat", Dialect.OPENAI, route="named").failure(LOST)
        assert (raised.value.job_id, raised.value.code) == (job_id, "worker_lost")
    assert LOST.job_id is None


def test_a_body_that_is_no_event_stream_is_cut() -> None:
    begun, _ = answer((b"content-type", b"application/json"))

    with pytest.raises(AnswerBroken):
        begun.failure(LOST)


@pytest.mark.parametrize(
    ("sent", "gap"),
    [
        ([], b""),
        ([b"data: 1\n\n"], b""),
        ([b"data: 1\r\n\r\n"], b""),
        ([b"data: 1\n", b"\n"], b""),
        ([b"data: 1\n"], b"id: 0\n\n"),
        ([b"data: {"], b"\nid: 0\n\n"),
        ([b"data: 1\n\n", b"d"], b"\nid: 1\n\n"),
        ([b": keep-al"], b"\n"),
    ],
)
def test_an_error_event_is_never_glued_to_half_an_event(sent: list[bytes], gap: bytes) -> None:
    begun, _ = answer(SSE)
    for data in sent:
        begun.messages([body(data)])

    (message,) = begun.failure(LOST)

    assert message["body"].startswith(gap + b"data: {")
    assert b"[DONE]" not in message["body"]
    assert message["more_body"] is False
    assert begun.ended


def test_an_event_stream_has_no_length_for_an_error_may_yet_follow() -> None:
    _, headers = answer(SSE, (b"content-length", b"9"))

    assert b"content-length" not in headers


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        ([], 0),
        ([b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n"], 2),
        ([b"event: a\ndata: 1\n", b"\nevent: b\ndata: 2\n", b"\n"], 2),
        ([b"data: 1\n", b"data: 2\n\n"], 1),
        ([b"data: 1\n\n", b"\n"], 1),
        ([b"data: 1\n", b"", b"\n"], 1),
        ([b"\n", b"data: 1\n\n"], 1),
        ([b"data: 1\n\ndata: {"], 1),
    ],
)
def test_responses_errors_are_numbered_after_the_events_before_them(sent: list[bytes], events: int) -> None:
    begun, _ = answer(SSE, dialect=Dialect.RESPONSES)
    for data in sent:
        begun.messages([body(data)])

    (message,) = begun.failure(LOST)

    assert b'"sequence_number":%d' % events in message["body"]


@pytest.mark.parametrize("value", [b"text/event-stream; charset=utf-8", b"text/event-stream"])
def test_event_streams_are_known_by_their_type(value: Any) -> None:
    begun, _ = answer((b"content-type", value))

    assert begun.failure(LOST)


# --- a stream that is opened while its job waits ---

WAITED = b": queued position=3 eta_s=8\n"
JSON = (b"content-type", b"application/json")
TOO_LONG = {"message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}


def opened(dialect: Dialect = Dialect.OPENAI) -> Answer:
    waiting = Answer(JOB, "chat-light", dialect, route="named", is_stream=True)
    waiting.open()
    assert waiting.comment(WAITED) == {"type": "http.response.body", "body": WAITED, "more_body": True}
    return waiting


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Start:
    return Start("job-1", 1, 0, status, headers, "worker-1", 0.0126)


def sent(answer: Answer, *frames: Frame) -> bytes:
    """Only bodies, the last of them last: anything else would be a second answer."""
    messages = answer.messages(list(frames))
    assert [message["type"] for message in messages] == ["http.response.body"] * len(messages)
    if messages:
        assert messages[-1]["more_body"] is not answer.ended
    return b"".join(message["body"] for message in messages)


def error_of(event: bytes) -> dict[str, Any]:
    assert event.endswith(b"}\n\n")
    assert b"[DONE]" not in event
    told: dict[str, Any] = orjson.loads(event.removeprefix(b"event: error\n").removeprefix(b"data: "))
    return told


def test_an_opened_stream_says_what_it_is_and_where_it_stood() -> None:
    waiting = Answer(JOB, "chat-light", Dialect.OPENAI, route="named", is_stream=True)
    waiting.place = Place(3, 7.1)

    message = waiting.open()

    assert (message["type"], message["status"]) == ("http.response.start", 200)
    assert dict(message["headers"]) == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-cache",
        b"x-accel-buffering": b"no",
        b"x-familyai-job-id": b"job-1",
        b"x-familyai-model": b"org/chat",
        b"x-familyai-queue": b"chat-light",
        b"x-familyai-route": b"named",
        b"x-familyai-queue-position": b"3",
        b"x-familyai-queue-eta-s": b"8",
    }


def test_an_answer_that_waited_says_where_it_stood() -> None:
    waited = Answer(JOB, "chat-light", Dialect.OPENAI, route="named")
    waited.place = Place(2, None)

    (message,) = waited.messages([start(JSON)])

    headers = dict(message["headers"])
    assert headers[b"x-familyai-queue-position"] == b"2"
    assert b"x-familyai-queue-eta-s" not in headers
    assert headers[b"x-familyai-queue-wait-ms"] == b"13"


def test_the_engines_events_follow_with_their_numbers() -> None:
    waiting = opened()

    assert waiting.messages([start(SSE)]) == []
    assert sent(waiting, body(b"data: 1\n")) == b"id: 1\ndata: 1\n"
    assert sent(waiting, body(b"\ndata: [DONE]\n\n"), End("job-1", 1, 3)) == b"\nid: 2\ndata: [DONE]\n\n"
    assert waiting.ended


def test_start_words_and_end_at_once() -> None:
    waiting = opened()

    assert sent(waiting, start(SSE), body(b"data: 1\n\n"), End("job-1", 1, 2)) == b"id: 1\ndata: 1\n\n"
    assert waiting.ended


@given(cuts=st.sets(st.integers(1, 60)), together=st.booleans())
def test_an_engines_refusal_becomes_an_event_however_it_is_cut(cuts: set[int], together: bool) -> None:
    waiting, whole = opened(), orjson.dumps({"error": TOO_LONG})
    edges = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    parts = [body(whole[a:b], seq) for seq, (a, b) in enumerate(pairwise(edges), 1)]
    frames: list[Frame] = [start(JSON, status=400), *parts, End("job-1", 1, len(parts) + 1)]

    batches = [frames] if together else [[frame] for frame in frames]
    received = [sent(waiting, *batch) for batch in batches]

    assert received[:-1] == [b""] * (len(batches) - 1)
    assert error_of(received[-1]) == {"error": TOO_LONG}
    assert waiting.ended


@pytest.mark.parametrize(
    ("dialect", "told"),
    [
        (Dialect.OPENAI, {"error": TOO_LONG}),
        (Dialect.ANTHROPIC, {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}}),
        (
            Dialect.RESPONSES,
            {"type": "error", "code": "400", "message": "too long", "param": "messages", "sequence_number": 0},
        ),
    ],
)
@pytest.mark.parametrize("engines", [{"error": TOO_LONG}, {"object": "error", **TOO_LONG}])
def test_a_refusal_in_every_dialect(dialect: Dialect, told: dict[str, Any], engines: dict[str, Any]) -> None:
    event = sent(opened(dialect), start(JSON, status=400), body(orjson.dumps(engines)), End("job-1", 1, 2))

    assert error_of(event) == told
    assert event.startswith(b"data: " if dialect is Dialect.OPENAI else b"event: error\ndata: ")


@pytest.mark.parametrize("data", [b"", b"<html>", b"[1]", b'{"error": "no"}', b'{"error": {"message": 7}}', b"\xff"])
def test_a_refusal_that_says_nothing(data: bytes) -> None:
    error = error_of(sent(opened(), start(JSON, status=418), body(data), End("job-1", 1, 2)))["error"]

    assert error["message"] == "the engine refused the request (status 418)"
    assert error["type"] == "server_error"


def test_a_body_that_is_no_event_stream_is_no_answer_either() -> None:
    error = error_of(sent(opened(), start(JSON), body(b'{"choices": []}'), End("job-1", 1, 2)))["error"]

    assert error["message"] == "the engine's answer is no event stream (status 200)"


def test_a_redirected_event_stream_is_refused() -> None:
    event = sent(opened(), start(SSE, status=500), body(b"data: no\n\n"), End("job-1", 1, 2))

    assert error_of(event)["error"]["message"] == "the engine refused the request (status 500)"


def test_of_an_endless_refusal_only_the_beginning_is_kept() -> None:
    waiting, long = opened(), orjson.dumps({"error": {**TOO_LONG, "message": "x" * 3 * LARGEST_REFUSAL_BYTES}})
    waiting.messages([start(JSON, status=400)])
    for seq, at in enumerate(range(0, len(long), 10_000), 1):
        assert waiting.messages([body(long[at : at + 10_000], seq)]) == []
        assert waiting._refusal is not None
        assert len(waiting._refusal.body) <= LARGEST_REFUSAL_BYTES

    assert error_of(sent(waiting, End("job-1", 1, 99)))["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_failure_while_it_waits_is_an_event(dialect: Dialect) -> None:
    (message,) = (waiting := opened(dialect)).failure(LOST)

    assert message["more_body"] is False
    assert b"gone" in message["body"]
    assert waiting.ended


def test_a_failure_in_the_middle_of_a_refusal_is_the_one_event() -> None:
    waiting = opened()
    waiting.messages([start(JSON, status=400), body(b'{"error"')])

    (message,) = waiting.failure(LOST)

    assert error_of(message["body"])["error"]["code"] == "worker_lost"
    assert message["more_body"] is False


def test_a_failure_after_half_an_event_of_an_opened_stream() -> None:
    waiting = opened()
    waiting.messages([start(SSE), body(b"data: {")])

    (message,) = waiting.failure(LOST)

    assert message["body"].startswith(b'\nid: 0\n\ndata: {"error"')


def test_comments_are_no_events() -> None:
    waiting = opened(Dialect.RESPONSES)
    waiting.messages([start(SSE), body(b"event: a\ndata: 1\n\n")])

    assert b'"sequence_number":1' in waiting.failure(LOST)[0]["body"]


# --- a stream whose client has a part of it ---


def test_whoever_has_some_events_is_sent_the_others() -> None:
    coming_back = Answer(JOB, "chat-light", Dialect.RESPONSES, route="named", is_stream=True, after=2)
    coming_back.messages([start(SSE)])

    assert sent(coming_back, body(b"data: 1\n\n")) == b""
    assert sent(coming_back, body(b"data: 2\n\ndata: 3\n\n", 2)) == b"id: 3\ndata: 3\n\n"
    (message,) = coming_back.failure(LOST)
    assert message["body"].startswith(b"event: error\n"), "with no number that another event has"
    assert b'"sequence_number":3' in message["body"]


def test_whoever_has_them_all_is_sent_the_end() -> None:
    coming_back = Answer(JOB, "chat-light", Dialect.OPENAI, route="named", is_stream=True, after=9)

    assert coming_back.messages([start(SSE), body(b"data: 1\n\n"), End("job-1", 1, 2)])[1:] == [
        {"type": "http.response.body", "body": b"", "more_body": False}
    ]


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("kind", [b"application/json", b"audio/mpeg", b"text/plain"])
def test_what_is_no_event_stream_has_no_numbers_and_comes_whole(kind: bytes, after: int) -> None:
    whole = Answer(JOB, "chat", Dialect.OPENAI, route="named", after=after)
    whole.messages([start((b"content-type", kind))])

    assert sent(whole, body(b"data: 1\n\ndata: 2\n\n"), End("job-1", 1, 2)) == b"data: 1\n\ndata: 2\n\n"
