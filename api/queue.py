"""The lines, for everybody to look at: how long they are and how fast, who is one's own, and for admins who all are."""

import time
from statistics import fmean
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth import Caller, CurrentCaller
from api.front import CurrentFront, Front
from api.jobs import sees_all
from api.line import Places
from api.schemas import refusals
from familyai.catalogue import Model
from familyai.lanes import Priority, lane_named
from familyai.line import Line

router = APIRouter(prefix="/v1/queue", tags=["jobs"], responses=refusals(401, 503))


class RunningJob(BaseModel):
    id: str
    member: str
    priority: Priority
    running_s: float = Field(description="For how long.")


class WaitingJob(BaseModel):
    id: str
    member: str
    priority: Priority
    position: int = Field(description="1: next.")
    others_ahead: int = Field(description="How many of those before it are other members'.")
    eta_s: float | None = Field(description="In how many seconds its turn is expected; null: nobody can tell.")


class QueueObject(BaseModel):
    """One model's line. Others' jobs are counted, not named."""

    id: str = Field(description="The queue's name.")
    object: Literal["queue"] = "queue"
    model: str = Field(description="By its Hugging Face id.")
    workers: int = Field(description="How many serve it now.")
    slots: int = Field(description="Jobs that all of them together run at once, their reserve included.")
    seconds_per_job: float | None = Field(description="By the measured pace; null: nothing was measured yet.")
    running: int = Field(description="Jobs that run, of all members.")
    waiting: int = Field(description="Jobs that wait, of all members.")
    running_jobs: list[RunningJob] = Field(description="One's own, oldest first; for an admin, everybody's.")
    waiting_jobs: list[WaitingJob] = Field(description="The same, in the order of the line.")


class QueueList(BaseModel):
    object: Literal["list"] = "list"
    data: list[QueueObject]


@router.get("", summary="See the lines")
async def list_queues(front: CurrentFront, caller: CurrentCaller) -> QueueList:
    """Every model's line. Positions are a forecast: somebody who got less so far may come and go first."""
    return QueueList(data=[await _queue(front, caller, queue) for queue in front.profile.models])


async def _queue(front: Front, caller: Caller, queue: str) -> QueueObject:
    line, places = await front.lines.seen(queue)
    return seen(queue, front.profile.models[queue], line, places, None if sees_all(caller) else caller.member.name)


def seen(queue: str, model: Model, line: Line, places: Places, member: str | None) -> QueueObject:
    """As this member sees it; None: as an admin does. Pure, but for the clock."""
    return QueueObject(
        id=queue,
        model=model.model,
        workers=line.workers,
        slots=line.workers * model.places,
        seconds_per_job=_seconds_per_job(model, line),
        running=len(line.running),
        waiting=len(line.waiting),
        running_jobs=_running(line, member),
        waiting_jobs=_waiting(line, places, member),
    )


def _running(line: Line, member: str | None) -> list[RunningJob]:
    now_s = time.time()
    return [
        RunningJob(
            id=job.job_id,
            member=job.member,
            priority=lane_named(job.lane).priority,
            running_s=round(max(0.0, now_s - job.started_at_s), 1),
        )
        for job in sorted(line.running, key=lambda job: job.started_at_s)
        if member in (None, job.member)
    ]


def _waiting(line: Line, places: Places, member: str | None) -> list[WaitingJob]:
    tickets = {ticket.job_id: ticket for ticket in line.waiting}
    ahead: dict[str, int] = {}
    waiting = []
    for job_id, place in places.items():
        job = tickets[job_id]
        own = ahead.get(job.member, 0)
        ahead[job.member] = own + 1
        if member in (None, job.member):
            waiting.append(
                WaitingJob(
                    id=job_id,
                    member=job.member,
                    priority=lane_named(job.lane).priority,
                    position=place.position,
                    others_ahead=place.position - 1 - own,
                    eta_s=None if place.eta_s is None else round(place.eta_s, 1),
                )
            )
    return waiting


def _seconds_per_job(model: Model, line: Line) -> float | None:
    """Of those that are here now; of nobody's, of one that is expected to be as long as an answer of this model."""
    if line.seconds_per_cost is None:
        return None
    costs = [*(job.cost for job in line.waiting), *(job.cost for job in line.running)]
    cost = fmean(costs) if costs else model.costs.output * model.answer_tokens
    return round(line.seconds_per_cost * cost, 2)
