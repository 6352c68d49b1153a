import orjson
import pytest

from api.failures import Dialect, dialect_of, envelope, event
from familyai.errors import BadRequest, EngineFailed, RequestError, TooLarge, Unauthorized, Unavailable


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", Dialect.OPENAI),
        ("/v1/models", Dialect.OPENAI),
        ("/nowhere", Dialect.OPENAI),
        ("/v1/responses", Dialect.RESPONSES),
        ("/v1/messages", Dialect.ANTHROPIC),
        ("/v1/messages/count_tokens", Dialect.ANTHROPIC),
        ("/v1/messagesque", Dialect.OPENAI),
    ],
)
def test_each_path_speaks_its_api(path: str, dialect: Dialect) -> None:
    assert dialect_of(path) is dialect


def test_openai_events_are_data_with_the_envelope() -> None:
    sent = event(Unavailable("gone", code="worker_lost"), Dialect.OPENAI, events_sent=3)

    assert sent.startswith(b"data: ")
    assert sent.endswith(b"\n\n")
    assert orjson.loads(sent[6:]) == {
        "error": {"message": "gone", "type": "service_unavailable", "param": None, "code": "worker_lost"}
    }


def test_responses_events_go_on_counting() -> None:
    name, data = event(EngineFailed("no"), Dialect.RESPONSES, events_sent=3).split(b"\n")[:2]

    assert name == b"event: error"
    assert orjson.loads(data[6:]) == {
        "type": "error",
        "code": "engine_failed",
        "message": "no",
        "param": None,
        "sequence_number": 3,
    }


def test_anthropic_events_name_the_status() -> None:
    name, data = event(Unavailable("gone"), Dialect.ANTHROPIC, events_sent=3).split(b"\n")[:2]

    assert name == b"event: error"
    assert orjson.loads(data[6:]) == {"type": "error", "error": {"type": "overloaded_error", "message": "gone"}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("x"), "invalid_request_error"),
        (Unauthorized("x"), "authentication_error"),
        (TooLarge("x"), "request_too_large"),
        (EngineFailed("x"), "api_error"),
    ],
)
def test_anthropic_envelopes(error: RequestError, kind: str) -> None:
    assert envelope(error, Dialect.ANTHROPIC) == {"type": "error", "error": {"type": kind, "message": "x"}}


def test_a_message_with_line_breaks_stays_one_event() -> None:
    sent = event(EngineFailed('first\n\ndata: [DONE]\n\n"'), Dialect.OPENAI, events_sent=0)

    assert sent.count(b"\n") == 2
