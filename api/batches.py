"""Batches: a file of requests, answered when nobody else needs the models, as OpenAI's clients use them."""

import logging
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, WithJsonSchema

from api.asking import AskingMember
from api.auth import CurrentMember
from api.body import RawBody, parse_as
from api.broker import broker_errors
from api.files import LONGEST_KEEP_S, SHORTEST_KEEP_S
from api.front import CurrentFront
from api.paging import After, page
from api.schemas import json_body, refusals
from api.work.batch_lines import ENDPOINTS
from familyai.batches import Batch, Problem, Record, new_batch_id
from familyai.errors import BadRequest
from routing.lines import window_s

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=refusals(401, 503))


class ExpiresAfter(BaseModel):
    anchor: Literal["created_at"]
    seconds: int = Field(ge=SHORTEST_KEEP_S, le=LONGEST_KEEP_S)


_EXPIRES_AFTER = {"anyOf": [ExpiresAfter.model_json_schema(), {"type": "null"}]}
"""Whole, where pydantic would only refer to it."""


class BatchRequest(BaseModel):
    input_file_id: str = Field(description="A file of purpose `batch`: a request on each line, as JSON.")
    endpoint: str = Field(description=f"Where they all go: {', '.join(ENDPOINTS)}.")
    completion_window: str = Field("24h", description="How long it may take: `90m`, `24h`, `7d`; 30 days at most.")
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        None, max_length=16, description="The client's own notes."
    )
    output_expires_after: Annotated[ExpiresAfter | None, WithJsonSchema(_EXPIRES_AFTER)] = Field(
        None, description="When the files it makes are deleted."
    )


class BatchProblem(BaseModel):
    code: str = Field(description="What is wrong, for a program.")
    message: str = Field(description="What is wrong, for a person.")
    param: str | None
    line: int | None = Field(description="Where in the input.")


class BatchProblems(BaseModel):
    object: Literal["list"] = "list"
    data: list[BatchProblem]


class RequestCounts(BaseModel):
    total: int
    completed: int
    failed: int


class BatchObject(BaseModel):
    """A batch as it stands. Times are in Unix time."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchProblems | None = Field(description="Why it failed; the first hundred reasons.")
    input_file_id: str
    completion_window: str
    status: str = Field(
        description="`validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling` or "
        "`cancelled`."
    )
    output_file_id: str | None = Field(description="Answers, a line each, in the order of the input.")
    error_file_id: str | None = Field(description="What was refused, failed, or was not answered in time.")
    created_at: int
    in_progress_at: int | None = None
    expires_at: int
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts
    metadata: dict[str, str] | None


class BatchList(BaseModel):
    object: Literal["list"] = "list"
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


async def own_batch(batch_id: str, front: CurrentFront, member: CurrentMember) -> Record:
    """Raises NotFound, for other people's batches too, and Unavailable."""
    with broker_errors():
        return await front.batches.get(batch_id, member.name)


OwnBatch = Annotated[Record, Depends(own_batch)]


@router.post("", summary="Create a batch", responses=refusals(400, 404, 413), openapi_extra=json_body(BatchRequest))
async def create_batch(front: CurrentFront, member: AskingMember, data: RawBody) -> BatchObject:
    """Its requests run beside everybody's, but never before them, and are answered in files.

    In a batch of transcriptions, `file` is the id of an uploaded recording. An answer that is no JSON object, such as
    subtitles, stands in the output as `{"text": ...}`.
    """
    batch = _batch(parse_as(data, BatchRequest), member.name, front.profile.limits.retention_h * 3600)
    with broker_errors():
        file = await front.files.get(batch.input_file_id, member.name)
        if file.purpose != "batch":
            raise BadRequest("upload the input with purpose `batch`", param="input_file_id", code="invalid_purpose")
        await front.files.keep(file, batch.expires_at_s + KEEP_INPUT_S)
        record = await front.batches.create(batch)
    log.info("a batch came", extra={"action": "batch.created", "batch": batch.id, "member": member.name})
    return _object(record)


@router.get("", summary="List batches", responses=refusals(400))
async def list_batches(
    front: CurrentFront,
    member: CurrentMember,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The most batches on one page.")] = 20,
) -> BatchList:
    """The member's own, newest first."""
    with broker_errors():
        records = await front.batches.all(member.name)
    some, has_more = page(records, after, limit)
    first, last = (some[0].id, some[-1].id) if some else (None, None)
    return BatchList(data=[_object(record) for record in some], first_id=first, last_id=last, has_more=has_more)


@router.get("/{batch_id}", summary="Retrieve a batch", responses=refusals(404))
async def retrieve_batch(record: OwnBatch) -> BatchObject:
    """How far it has come."""
    return _object(record)


@router.post("/{batch_id}/cancel", summary="Cancel a batch", responses=refusals(400, 404))
async def cancel_batch(record: OwnBatch, front: CurrentFront) -> BatchObject:
    """What is done by then goes into its files; the rest is not begun, and what runs is stopped."""
    with broker_errors():
        cancelled = await front.batches.cancel(record.id)
        record = await front.batches.get(record.id, record.batch.member)
    if not cancelled:
        words = f"a batch cannot be cancelled when it is {record.status}"
        raise BadRequest(words, param="batch_id", code="batch_not_cancellable")
    return _object(record)


KEEP_INPUT_S = 24 * 3600
"""So long after its time the input may still be needed, to say what was not answered."""


def _batch(asked: BatchRequest, member: str, retention_s: float) -> Batch:
    """Raises BadRequest."""
    if asked.endpoint not in ENDPOINTS:
        raise BadRequest(f"`endpoint` must be one of: {', '.join(ENDPOINTS)}", param="endpoint", code="invalid_value")
    expiry, now_s = asked.output_expires_after, time.time()
    return Batch(
        id=new_batch_id(),
        member=member,
        endpoint=asked.endpoint,
        input_file_id=asked.input_file_id,
        completion_window=asked.completion_window,
        created_at_s=now_s,
        expires_at_s=now_s + window_s(asked.completion_window),
        output_keep_s=min(expiry.seconds, retention_s) if expiry else retention_s,
        metadata=asked.metadata,
    )


def _object(record: Record) -> BatchObject:
    batch = record.batch
    times: dict[str, Any] = {name: int(value) for name, value in record.times_s.items()}
    return BatchObject(
        id=batch.id,
        endpoint=batch.endpoint,
        errors=BatchProblems(data=[_problem(problem) for problem in record.problems]) if record.problems else None,
        input_file_id=batch.input_file_id,
        completion_window=batch.completion_window,
        status=record.status,
        output_file_id=record.output_file_id,
        error_file_id=record.error_file_id,
        created_at=int(batch.created_at_s),
        expires_at=int(batch.expires_at_s),
        request_counts=RequestCounts(total=record.total, completed=record.completed, failed=record.failed),
        metadata=batch.metadata,
        **times,
    )


def _problem(problem: Problem) -> BatchProblem:
    return BatchProblem(code=problem.code, message=problem.message, param=problem.param, line=problem.line)
