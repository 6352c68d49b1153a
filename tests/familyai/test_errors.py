"""Whatever fails, a client reads OpenAI's words for it."""

import pytest

from familyai import errors
from familyai.errors import BadRequest, EngineFailed, FamilyAIError, NotFound, RequestError, Unavailable

KINDS = [
    (errors.BadRequest, 400, "invalid_request_error", None),
    (errors.Unauthorized, 401, "invalid_request_error", "invalid_api_key"),
    (errors.Forbidden, 403, "permission_error", "forbidden"),
    (errors.NotFound, 404, "invalid_request_error", None),
    (errors.TooSlow, 408, "invalid_request_error", "request_timeout"),
    (errors.Cancelled, 410, "invalid_request_error", "cancelled"),
    (errors.TooLarge, 413, "invalid_request_error", "request_too_large"),
    (errors.LimitReached, 429, "rate_limit_error", "rate_limit_exceeded"),
    (errors.HeadTooLarge, 431, "invalid_request_error", "headers_too_large"),
    (errors.EngineFailed, 500, "server_error", "engine_failed"),
    (errors.InsufficientStorage, 507, "server_error", "insufficient_storage"),
    (errors.Unavailable, 503, "service_unavailable", "unavailable"),
]


@pytest.mark.parametrize(("kind", "status", "word", "code"), KINDS)
def test_each_kind_has_its_status_and_its_envelope(
    kind: type[RequestError], status: int, word: str, code: str | None
) -> None:
    error = kind("no")
    assert error.status == status
    assert error.envelope() == {"error": {"message": "no", "type": word, "param": None, "code": code}}


def test_no_kind_is_missing_here() -> None:
    assert {kind for kind, *_ in KINDS} == set(RequestError.__subclasses__())


def test_the_envelope_names_parameter_and_code() -> None:
    error = BadRequest("must be positive", code="out_of_range", param="max_tokens")
    assert error.envelope()["error"] == {
        "message": "must be positive",
        "type": "invalid_request_error",
        "param": "max_tokens",
        "code": "out_of_range",
    }


def test_one_error_s_code_is_not_the_next_one_s() -> None:
    assert Unavailable("down", code="broker_down", retry_after_s=1).code == "broker_down"
    assert Unavailable("down").code == "unavailable"
    assert Unavailable("down").retry_after_s is None


def test_what_several_are_told_names_each_ones_job() -> None:
    told = Unavailable("down", code="broker_down", param="model", retry_after_s=1)
    mine = told.of("job-1")
    assert (mine.job_id, told.job_id) == ("job-1", None)
    assert (mine.message, mine.code, mine.param, mine.retry_after_s) == ("down", "broker_down", "model", 1)
    assert str(mine) == "down"


def test_the_message_is_what_a_log_shows() -> None:
    assert str(EngineFailed("out of memory")) == "out of memory"


@pytest.mark.parametrize("kind", [errors.ConfigurationError, errors.DecodeError, NotFound])
def test_one_root_catches_all(kind: type[FamilyAIError]) -> None:
    assert issubclass(kind, FamilyAIError)


def test_the_tree_on_the_page_is_the_tree_of_the_classes() -> None:
    for kind, status, *_ in KINDS:
        (line,) = [line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in line]
        assert str(status) in line
