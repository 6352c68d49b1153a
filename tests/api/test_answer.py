from typing import Any

import pytest

from api.answer import Answer, AnswerBroken
from api.failures import Dialect
from familyai.errors import Unavailable
from familyai.frame import Body, End, Start
from tests.support import a_job

JOB = a_job(id="job-1", queue="chat", model="org/chat")
SSE = (b"Content-Type", b"text/event-stream")
LOST = Unavailable("gone", code="worker_lost")


def answer(*headers: tuple[bytes, bytes], dialect: Dialect = Dialect.OPENAI) -> tuple[Answer, dict[bytes, bytes]]:
    begun = Answer(JOB, "chat-light", dialect)
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
    whole = Answer(JOB, "chat", Dialect.OPENAI)

    messages = whole.messages([Start("job-1", 1, 0, 400, (), "worker-1", 0), body(b"no"), End("job-1", 1, 2)])

    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]
    assert (messages[0]["status"], messages[1]["body"], messages[1]["more_body"]) == (400, b"no", False)


def test_before_the_start_a_failure_is_raised() -> None:
    with pytest.raises(Unavailable):
        Answer(JOB, "chat", Dialect.OPENAI).failure(LOST)


def test_a_body_that_is_no_event_stream_is_cut() -> None:
    begun, _ = answer((b"content-type", b"application/json"))

    with pytest.raises(AnswerBroken):
        begun.failure(LOST)


@pytest.mark.parametrize(
    ("sent", "gap"),
    [
        ([], False),
        ([b"data: 1\n\n"], False),
        ([b"data: 1\r\n\r\n"], False),
        ([b"data: 1\n", b"\n"], False),
        ([b"data: 1\n"], True),
        ([b"data: {"], True),
        ([b"data: 1\n\n", b"d"], True),
    ],
)
def test_an_error_event_is_never_glued_to_half_an_event(sent: list[bytes], gap: bool) -> None:
    begun, _ = answer(SSE)
    for data in sent:
        begun.messages([body(data)])

    (message,) = begun.failure(LOST)

    assert message["body"].startswith(b"\n\ndata: {" if gap else b"data: {")
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
