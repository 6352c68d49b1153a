"""An answer told again to the member who asked for it: from its beginning, or from where their client lost it."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.answer import Answer
from api.auth import CurrentCaller
from api.broker import broker_errors
from api.failures import dialect_of
from api.front import CurrentFront, Front
from api.jobs import JobId, not_found
from api.schemas import EVENTS, refusals
from api.tell import Teller, while_client_stays
from familyai.errors import BadRequest, NotFound
from familyai.jobs import Description, State

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=refusals(401, 503))

ROUTE = "resumed"
_EVENT_ID = re.compile(r"\d{1,9}")


class Resumed(Response):
    """Its job runs on when the client leaves again."""

    def __init__(self, front: Front, job: Description, answer: Answer) -> None:
        self.background = None
        self._front = front
        self._job = job
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = self._front.replies.follow(self._job.id, self._job.queue)
        try:
            async with while_client_stays(receive, reply):
                await Teller(self._front, reply, self._answer, send).tell()
        finally:
            self._front.close(reply)


_LastEventId = Header(
    alias="Last-Event-ID", description="The `id` of the last event that arrived; without it, all of them are told."
)
LastEventId = Annotated[str | None, _LastEventId]


async def resumed(job_id: JobId, front: CurrentFront, caller: CurrentCaller, last: LastEventId = None) -> Resumed:
    """Raises BadRequest for what is no event's id, NotFound for others' jobs and for what is not kept any more."""
    after = _after(last)
    with broker_errors():
        job = await front.jobs.describe(job_id)
        if job is None or job.member != caller.member.name:  # not even an admin reads what another was answered
            raise not_found()
        if job.state not in (State.QUEUED, State.RUNNING) and not await front.logs.exists(job_id):
            raise NotFound("its answer is not kept any more", param="job_id", code="answer_not_kept")
    answer = Answer(job, job.queue, dialect_of(job.path), route=ROUTE, is_stream=job.streams, after=after)
    return Resumed(front, job, answer)


def _after(last_event_id: str | None) -> int:
    if not last_event_id:
        return 0
    if not _EVENT_ID.fullmatch(last_event_id):
        raise BadRequest("this is no event's id", param="Last-Event-ID", code="invalid_value")
    return int(last_event_id)


_ANY: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}, **EVENTS}


@router.get(
    "/{job_id}/events",
    summary="Resume an answer",
    response_class=Response,
    responses={200: {"description": "The answer.", "content": _ANY}, **refusals(400, 404, 410, 500)},
)
async def resume_answer(answer: Annotated[Resumed, Depends(resumed)]) -> Resumed:
    """A stream's events as they were, and as they come, each with its `id`. An answer that was asked for whole comes
    whole, as soon as it is there.

    Only for who asked, and for `replay_s` after its last words. Jobs of the household's own work have no such answer.
    """
    return answer
