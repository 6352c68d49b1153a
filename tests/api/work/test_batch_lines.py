"""From a line's body to a form, and from an answer to a line of the output."""

import json
import time
from typing import Any

import pytest

from api.call import Answered
from api.work.batch_lines import ENDPOINTS, expired, form_fields, lines_at_once, may_pass, refusal, result
from familyai.batches import Batch, Verdict
from familyai.catalogue import Profile
from familyai.errors import BadRequest, EngineFailed, InsufficientStorage, RequestError, Unavailable
from tests.api.support import PROFILE

BATCH = Batch(
    id="batch_1",
    member="ada",
    endpoint="/v1/chat/completions",
    input_file_id="file-1",
    completion_window="24h",
    created_at_s=time.time(),
    expires_at_s=time.time(),
    output_keep_s=60,
)


def written(answered: Answered, number: int = 7) -> tuple[Verdict, dict[str, Any]]:
    verdict, line = result(BATCH, number, "mine", answered)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return verdict, json.loads(line)


def test_an_answer() -> None:
    verdict, line = written(Answered(200, b'{"a":\n [1, "\\n"]}'))
    assert verdict is Verdict.COMPLETED
    assert line["id"].startswith("batch_req_")
    assert (line["custom_id"], line["error"]) == ("mine", None)
    assert line["response"] == {"status_code": 200, "request_id": line["id"], "body": {"a": [1, "\n"]}}


def test_the_same_line_always_has_the_same_id() -> None:
    assert written(Answered(200, b"{}")) == written(Answered(200, b"{}"))
    assert written(Answered(200, b"{}"), 8)[1]["id"] != written(Answered(200, b"{}"), 7)[1]["id"]


@pytest.mark.parametrize(
    "body", [b"1\n00:00 --> 00:01\nHello\n", b"42\n", b"", b'{"a":', b"\xff", b"[" * 300 + b"]" * 300]
)
def test_an_answer_that_is_no_object(body: bytes) -> None:
    assert written(Answered(200, body))[1]["response"]["body"] == {"text": body.decode(errors="replace")}


def test_a_refusal() -> None:
    verdict, line = written(refusal(BadRequest("no", param="n"), BATCH.endpoint))
    assert verdict is Verdict.FAILED
    assert line["response"]["status_code"] == 400
    assert line["response"]["body"]["error"]["param"] == "n"
    assert json.loads(refusal(BadRequest("no"), "/v1/messages").body)["type"] == "error"


def test_what_came_too_late() -> None:
    line = json.loads(expired(BATCH, 7, "mine"))
    assert (line["custom_id"], line["response"], line["error"]["code"]) == ("mine", None, "batch_expired")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (Unavailable("x", code="broker_down"), True),
        (InsufficientStorage("x"), True),
        (Unavailable("x", code="answer_too_large"), False),
        (EngineFailed("x"), False),
        (BadRequest("x"), False),
    ],
)
def test_what_may_pass(error: RequestError, passes: bool) -> None:
    assert may_pass(error) is passes


def test_a_body_as_a_form() -> None:
    body = {
        "language": "en",
        "temperature": 0.5,
        "word": True,
        "prompt": None,
        "timestamp_granularities": ["word", "segment"],
        "include[]": ["logprobs"],
    }
    assert form_fields(body) == [
        ("language", "en"),
        ("temperature", "0.5"),
        ("word", "true"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("include[]", "logprobs"),
    ]
    for odd in ({"a": {}}, {"a": [[]]}):
        with pytest.raises(BadRequest):
            form_fields(odd)


def test_as_many_at_once_as_there_are_slots_and_one() -> None:
    profile = Profile.model_validate(PROFILE)
    assert [lines_at_once(endpoint, profile) for endpoint in ENDPOINTS] == [5, 5, 5, 5, 5, 1]
