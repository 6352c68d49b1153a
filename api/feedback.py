"""What members say of the router's choices, where the household lets it learn. It stays on this machine."""

import logging
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, WithJsonSchema

from api.auth import Caller, CurrentCaller
from api.body import RawBody, parse_as
from api.broker import broker_errors
from api.front import CurrentFront, Front
from api.jobs import JobId, sees_all
from api.paging import After, page
from api.schemas import ErrorEnvelope, json_body, refusals
from familyai.errors import BadRequest, Forbidden, NotFound, RequestError
from familyai.feedback import Marked, Routed
from familyai.kinds import Kind

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["models"], responses=refusals(401, 503))

AnyKind = Annotated[Kind | None, WithJsonSchema({"anyOf": [{"type": "string", "enum": list(Kind)}, {"type": "null"}]})]
"""Whole, where pydantic would only refer to it."""
_NAMED: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorEnvelope, "description": "The request named its model: the router chose nothing."}
}


class RouteNamed(BadRequest):
    """There was no choice that could have been wrong."""

    status = 409
    code = "route_named"


class FeedbackRequest(BaseModel):
    model: Literal["wrong"] = Field(description="`wrong`: another one should have answered.", examples=["wrong"])
    kind: AnyKind = Field(None, description="What the request should have been taken for.", examples=["chat-fast"])


class FeedbackObject(BaseModel):
    """A choice of the router's that its member calls wrong."""

    id: str = Field(description="Of the job.")
    object: Literal["route.feedback"] = "route.feedback"
    created_at: float = Field(description="In Unix time.")
    member: str
    model: Literal["wrong"] = "wrong"
    chosen: str = Field(description="What the router took the request for.")
    queue: str = Field(description="The queue that it chose.")
    kind: Kind | None = Field(description="What the member says it was; null: not that.")
    path: str = Field(description="The endpoint that was asked.")
    prefer: str | None = Field(description="What counted more where the model was chosen.")


class FeedbackWithRequest(FeedbackObject):
    request: dict[str, Any] = Field(
        description="All that is kept of the request: what the router read of it. Long texts are cut."
    )


class FeedbackList(BaseModel):
    object: Literal["list"] = "list"
    data: list[FeedbackWithRequest]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FeedbackDeleted(BaseModel):
    id: str
    object: Literal["route.feedback"] = "route.feedback"
    deleted: bool = True


@router.post(
    "/jobs/{job_id}/feedback",
    summary="Mark a model as wrong",
    responses=refusals(400, 403, 404, 413) | _NAMED,
    openapi_extra=json_body(FeedbackRequest),
)
async def create_job_feedback(
    job_id: JobId, front: CurrentFront, caller: CurrentCaller, data: RawBody
) -> FeedbackObject:
    """For who asked, within a day: the model that `auto` chose was the wrong one, and perhaps what kind it really was.

    What the router read of the request is then kept until the mark is taken back. Marking again replaces the mark.
    """
    asked = parse_as(data, FeedbackRequest)
    _check_learning(front)
    with broker_errors():
        marked = _marked(await _routed(front, job_id, caller.member.name), asked.kind)
        await front.feedback.mark(marked)
    _log("a route was marked as wrong", "route.marked", marked, caller)
    return FeedbackObject.model_validate(_fields(marked))


@router.delete("/jobs/{job_id}/feedback", summary="Take a mark back", responses=refusals(404))
async def delete_job_feedback(job_id: JobId, front: CurrentFront, caller: CurrentCaller) -> FeedbackDeleted:
    """What was kept for it is gone at once. An admin takes back anybody's."""
    with broker_errors():
        marked = await front.feedback.marked(job_id, None if sees_all(caller) else caller.member.name)
        if marked is None:
            raise NotFound("there is no such mark", param="job_id", code="feedback_not_found")
        await front.feedback.take_back(marked)
    _log("a mark was taken back", "route.unmarked", marked, caller)
    return FeedbackDeleted(id=job_id)


@router.get("/route/feedback", summary="List marks", responses=refusals(400))
async def list_route_feedback(
    front: CurrentFront,
    caller: CurrentCaller,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The most marks on one page.")] = 20,
) -> FeedbackList:
    """All that is kept of them, newest first: a member's own, or for an admin everybody's."""
    with broker_errors():
        ids = await front.feedback.jobs(await _whose(front, caller))
        some, has_more = page([_Id(id=one) for one in ids], after, limit)
        found = await front.feedback.all([one.id for one in some])
    first, last = (some[0].id, some[-1].id) if some else (None, None)
    data = [FeedbackWithRequest.model_validate(_fields(one) | {"request": one.request}) for one in found]
    return FeedbackList(data=data, first_id=first, last_id=last, has_more=has_more)


class _Id(BaseModel):
    id: str


def _check_learning(front: Front) -> None:
    """Raises Forbidden."""
    if not front.profile.learn:
        raise Forbidden(
            "This household's router does not learn, so nothing is kept that could be marked. Whoever runs FamilyAI "
            "can switch it on: `learn: true` in the profile in queues.yaml, then `familyai up` again.",
            code="learning_off",
        )


async def _routed(front: Front, job_id: str, member: str) -> Routed:
    """As it was asked, or as it was marked before. Raises RequestError."""
    found = await front.feedback.routed(job_id, member) or await front.feedback.marked(job_id, member)
    if found is None:
        job = await front.jobs.describe(job_id)
        raise _nothing_kept(is_theirs=job is not None and job.member == member)
    return found


def _nothing_kept(is_theirs: bool) -> RequestError:
    if is_theirs:
        words = "this request named its model, or nothing was kept of it: there is no choice to mark"
        return RouteNamed(words, param="job_id")
    return NotFound("there is no such job, or it was asked over a day ago", param="job_id", code="job_not_found")


def _marked(routed: Routed, kind: Kind | None) -> Marked:
    return Marked(
        job_id=routed.job_id,
        member=routed.member,
        path=routed.path,
        chosen=routed.chosen,
        queue=routed.queue,
        request=routed.request,
        prefer=routed.prefer,
        at_s=time.time(),
        kind=kind,
    )


async def _whose(front: Front, caller: Caller) -> list[str]:
    return [member.name for member in await front.members.all()] if sees_all(caller) else [caller.member.name]


def _fields(marked: Marked) -> dict[str, Any]:
    """Without the request."""
    return {
        "id": marked.job_id,
        "created_at": marked.at_s,
        "member": marked.member,
        "chosen": marked.chosen,
        "queue": marked.queue,
        "kind": marked.kind,
        "path": marked.path,
        "prefer": marked.prefer,
    }


def _log(words: str, action: str, marked: Marked, caller: Caller) -> None:
    extra = {"action": action, "job": marked.job_id, "kind": marked.chosen, "by": caller.member.name}
    log.info(words, extra=extra)
