"""Jobs as those see them whose they are: where they stand, and the end of one that nobody needs any more."""

import logging
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.auth import Caller, CurrentCaller
from api.broker import broker_errors
from api.caretaker import last_words
from api.front import CurrentFront, Front
from api.schemas import refusals
from familyai import keys
from familyai.allowance import Role
from familyai.errors import NotFound
from familyai.jobs import Description, State
from familyai.lanes import Priority, lane_named
from familyai.line import Place

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=refusals(401, 503))

JobId = Annotated[str, Path(description="As `X-FamilyAI-Job-Id` said it.", examples=["job-0123456789abcdef"])]


class JobObject(BaseModel):
    """A request on its way. What it asks stands nowhere in it."""

    id: str
    object: Literal["job"] = "job"
    state: State
    member: str
    model: str = Field(description="By its Hugging Face id.")
    queue: str = Field(description="The queue it waits in.")
    priority: Priority
    position: int | None = Field(description="Where it stands in its line; 1: next. Null when it does not wait.")
    eta_s: float | None = Field(description="In how many seconds its turn is expected; null: nobody can tell.")
    queue_wait_s: float = Field(description="How long it waited, or has waited so far.")
    attempt: int = Field(description="How often a worker began it.")
    created_at: float = Field(description="In Unix time, as are those that follow.")
    started_at: float | None
    ended_at: float | None


class JobList(BaseModel):
    object: Literal["list"] = "list"
    data: list[JobObject]


def sees_all(caller: Caller) -> bool:
    """Admins do, with a key of their own: whoever a chat UI speaks for sees what is theirs."""
    return caller.member.role is Role.ADMIN and not caller.by_trusted_key


SetAside = Annotated[bool, Query(description="Those over which one worker after another died, the last first.")]


@router.get("", summary="List jobs")
async def list_jobs(front: CurrentFront, caller: CurrentCaller, set_aside: SetAside = False) -> JobList:
    """What runs and waits: a member's own, or for an admin everybody's. By queue, in the order of the line."""
    found = []
    with broker_errors():
        if set_aside:
            return JobList(data=await _set_aside(front, caller))
        for queue in front.profile.models:
            found += await _in_line(front, caller, queue)
    return JobList(data=found)


async def _set_aside(front: Front, caller: Caller) -> list[JobObject]:
    jobs = await front.jobs.describe_all(await front.jobs.set_aside())
    return [_object(job, None) for job in jobs if _is_theirs(caller, job.member)]


async def _in_line(front: Front, caller: Caller, queue: str) -> list[JobObject]:
    line, places = await front.lines.seen(queue)
    member_of = {job.job_id: job.member for job in line.running} | {job.job_id: job.member for job in line.waiting}
    order = [*(job.job_id for job in line.running), *places]
    theirs = await front.jobs.describe_all([job_id for job_id in order if _is_theirs(caller, member_of[job_id])])
    return [_object(job, places.get(job.id)) for job in theirs if job.state in (State.QUEUED, State.RUNNING)]


@router.get("/{job_id}", summary="Retrieve a job", responses=refusals(404))
async def retrieve_job(job_id: JobId, front: CurrentFront, caller: CurrentCaller) -> JobObject:
    """Where it stands. An ended job is known for a while; an admin sees everybody's."""
    with broker_errors():
        job = await _theirs(front, caller, job_id)
        return _object(job, await front.lines.place(job.id, job.queue))


@router.delete("/{job_id}", summary="Cancel a job", responses=refusals(404))
async def cancel_job(job_id: JobId, front: CurrentFront, caller: CurrentCaller) -> JobObject:
    """It never starts, or stops at once; whoever waits for its answer is told `cancelled`, with 410 or in the stream.

    May be repeated: a job that has ended stays as it ended.
    """
    with broker_errors():
        job = await _theirs(front, caller, job_id)
        was = await front.jobs.cancel(job_id)
        job = await _theirs(front, caller, job_id)
        if job.state is State.CANCELLED:
            await _tell(front, job)
        if was is not None:
            extra = {"action": "job.taken_back", "job": job_id, "was": was, "by": caller.member.name}
            log.info("a job was taken back", extra=extra)
    return _object(job, None)


async def _tell(front: Front, job: Description) -> None:
    """Whoever waits for its answer. Again each time it is asked: the first word may have been lost."""
    words = last_words(job.id, job.attempt, "cancelled", "This request was taken back.")
    await front.redis.publish(keys.reply(job.front), words.data)
    await front.logs.append([words])


async def _theirs(front: Front, caller: Caller, job_id: str) -> Description:
    """Raises NotFound for others' jobs as for those that never were."""
    job = await front.jobs.describe(job_id)
    if job is None or not _is_theirs(caller, job.member):
        raise not_found()
    return job


def not_found() -> NotFound:
    return NotFound("there is no such job, or it ended long ago", param="job_id", code="job_not_found")


def _is_theirs(caller: Caller, member: str) -> bool:
    return sees_all(caller) or member == caller.member.name


def _object(job: Description, place: Place | None) -> JobObject:
    place = place if job.state is State.QUEUED else None
    waited_until_s = job.claimed_at_s or job.ended_at_s or time.time()
    return JobObject(
        id=job.id,
        state=job.state,
        member=job.member,
        model=job.model,
        queue=job.queue,
        priority=lane_named(job.lane).priority,
        position=place.position if place else None,
        eta_s=round(place.eta_s, 1) if place and place.eta_s is not None else None,
        queue_wait_s=round(max(0.0, waited_until_s - job.created_at_s), 3),
        attempt=job.attempt,
        created_at=job.created_at_s,
        started_at=job.claimed_at_s,
        ended_at=job.ended_at_s,
    )
