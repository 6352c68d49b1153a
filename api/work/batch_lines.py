"""One line of a batch: from a request to a job, and from its answer to a line of the files that the batch produces."""

import hashlib
from typing import Any

import orjson

from api.broker import broker_errors
from api.call import Answered
from api.choose import Asked, Check, anything, choose
from api.failures import dialect_of, envelope
from api.front import Front
from api.submit import client_fields, form_job
from api.wishes import Wishes
from familyai.batches import Batch, Verdict
from familyai.catalogue import Profile, Task
from familyai.errors import BadRequest, InsufficientStorage, LimitReached, RequestError, Unavailable
from familyai.job import Blob, Job
from familyai.lanes import Priority
from routing.admit import check_task
from routing.messages import check_message_request
from routing.resolve import check_model, resolve

_TRANSCRIPTIONS = "/v1/audio/transcriptions"
_ENDPOINTS: dict[str, tuple[Task, Check]] = {
    "/v1/chat/completions": (Task.GENERATE, anything),
    "/v1/completions": (Task.GENERATE, anything),
    "/v1/embeddings": (Task.EMBED, anything),
    "/v1/responses": (Task.GENERATE, anything),
    "/v1/messages": (Task.GENERATE, check_message_request),
    _TRANSCRIPTIONS: (Task.TRANSCRIBE, anything),
}
ENDPOINTS = tuple(_ENDPOINTS)


def lines_at_once(endpoint: str, profile: Profile) -> int:
    """As many as a model has slots, and one more, so that a place that falls free is taken at once."""
    task, _ = _ENDPOINTS[endpoint]
    return 1 + max((model.slots for model in profile.models.values() if task in model.tasks), default=0)


async def line_job(front: Front, batch: Batch, body: dict[str, Any]) -> Job:
    """Raises RequestError: what a client would have been told, or Unavailable."""
    if body.get("stream"):
        words = "a batch keeps whole answers: leave `stream` out"
        raise BadRequest(words, param="stream", code="unsupported_parameter")
    if batch.endpoint == _TRANSCRIPTIONS:
        return await _transcription(front, batch, body)
    task, check = _ENDPOINTS[batch.endpoint]
    with broker_errors():
        member = await front.members.get(batch.member)
    asked = Asked(batch.endpoint, member, body, task, check, Wishes(Priority.BATCH), is_large=True)
    job, _ = await choose(front, asked)
    return job


async def _transcription(front: Front, batch: Batch, body: dict[str, Any]) -> Job:
    """Of a recording that the same member has uploaded."""
    target = resolve(body.get("model"), front.profile, Task.TRANSCRIBE)
    check_task(Task.TRANSCRIBE, target, front.profile)
    with broker_errors():
        member = await front.members.get(batch.member)
    check_model(member.allowance(front.profile.roles), target)
    if not isinstance(body.get("file"), str):
        raise BadRequest("`file` must be the id of an uploaded recording", param="file", code="missing_file")
    fields = client_fields(form_fields({name: value for name, value in body.items() if name != "file"}))
    with broker_errors():
        file = await front.files.get(body["file"], batch.member)
    audio = Blob(file.blob, 0, file.size_bytes)
    return form_job(front, batch.endpoint, batch.member, target, fields, audio, priority=Priority.BATCH)


def form_fields(body: dict[str, Any]) -> list[tuple[str, str]]:
    """A JSON body as a form has it: a list's name ends with `[]` and comes once for each. Raises BadRequest."""
    fields = []
    for name, value in body.items():
        as_list = isinstance(value, list)
        key = f"{name.removesuffix('[]')}[]" if as_list else name
        fields += [(key, _as_text(name, item)) for item in (value if as_list else [value]) if item is not None]
    return fields


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise BadRequest(f"`{name}` must be a text, a number, or a list of them", param=name[:64], code="invalid_value")


def may_pass(error: RequestError) -> bool:
    """Whether trying again may help. Then it is nothing that a batch reports."""
    return isinstance(error, Unavailable | InsufficientStorage | LimitReached) and error.code != "answer_too_large"


def refusal(error: RequestError, endpoint: str) -> Answered:
    """What a client would have been told."""
    return Answered(error.status, orjson.dumps(envelope(error, dialect_of(endpoint))))


def result(batch: Batch, number: int, custom_id: str, answered: Answered) -> tuple[Verdict, bytes]:
    """The line for the output file, or for the error file. An answer that is no JSON object stands under `text`."""
    request_id = _request_id(batch, number)
    response = {"status_code": answered.status, "request_id": request_id, "body": _object(answered.body)}
    line = {"id": request_id, "custom_id": custom_id, "response": response, "error": None}
    return Verdict.COMPLETED if 200 <= answered.status < 300 else Verdict.FAILED, orjson.dumps(line) + b"\n"


def expired(batch: Batch, number: int, custom_id: str) -> bytes:
    """The error file's line for a request that was not answered in time."""
    message = "This request could not be executed before the completion window expired."
    error = {"code": "batch_expired", "message": message}
    return (
        orjson.dumps({"id": _request_id(batch, number), "custom_id": custom_id, "response": None, "error": error})
        + b"\n"
    )


def derived_id(prefix: str, *parts: object) -> str:
    """The same for the same parts, so that doing a thing twice makes no second one."""
    return prefix + hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:32]


def _request_id(batch: Batch, number: int) -> str:
    return derived_id("batch_req_", batch.id, number)


def _object(body: bytes) -> orjson.Fragment:
    try:
        value = orjson.loads(body)
        if isinstance(value, dict):
            return orjson.Fragment(orjson.dumps(value))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    return orjson.Fragment(orjson.dumps({"text": body.decode(errors="replace")}))
