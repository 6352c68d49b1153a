"""From an admitted request to a job on its queue."""

import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from fastapi import Request

from api.body import write
from api.broker import broker_errors
from api.front import Front
from api.multipart import written
from api.replies import Reply
from api.standing import with_standing
from api.storage import storage_errors
from familyai.broker import BROKER_ERRORS
from familyai.errors import LimitReached, Unavailable
from familyai.job import Blob, Job, new_job_id, own_blob
from familyai.lanes import Priority
from familyai.members import Member
from routing.admit import passed_on
from routing.continues import continues
from routing.estimate import Estimate, estimate_audio
from routing.resolve import Target

log = logging.getLogger(__name__)

_FIELD = re.compile(r"[a-z_]{1,64}(\[\])?")


def route_path(request: Request) -> str:
    """As the route was declared: `request.url` also takes in what the client wrote into its Host header."""
    return cast(str, request.scope["route"].path_format)


def json_job(
    front: Front,
    path: str,
    member: str,
    target: Target,
    body: dict[str, object],
    estimate: Estimate,
    *,
    width: int = 1,
    accept: str = "*/*",
    priority: Priority = Priority.INTERACTIVE,
    deadline_s: float | None = None,
) -> Job:
    """The engine sees the body that was checked, written anew, and of the headers only what it answers by."""
    return Job(
        id=new_job_id(),
        headers=(("content-type", "application/json"), ("accept", accept)),
        body=write({**passed_on(body), "model": target.model.model}),
        width=width,
        continues=continues(path, body, width, target.model.engine),
        **_about(front, path, member, target, estimate, priority, deadline_s),
    )


def _about(
    front: Front,
    path: str,
    member: str,
    target: Target,
    estimate: Estimate,
    priority: Priority,
    deadline_s: float | None,
) -> dict[str, Any]:
    """What every job of the front's says of itself, whatever its body."""
    longest_s = front.profile.limits.queue_wait_s
    return {
        "queue": target.physical,
        "model": target.model.model,
        "member": member,
        "front": front.id,
        "method": "POST",
        "path": path,
        "priority": priority,
        "cost": estimate.cost,
        "tokens": estimate.tokens,
        "deadline_s": min(deadline_s or longest_s, longest_s),
        "created_at_s": time.time(),
    }


def client_fields(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A client's form fields without what only we may say: that a recording was cut already, and is short."""
    return [(name, value) for name, value in fields if _FIELD.fullmatch(name) and name not in ("model", "precut")]


def form_job(
    front: Front,
    path: str,
    member: str,
    target: Target,
    fields: list[tuple[str, str]],
    audio: Blob,
    *,
    header: bytes = b"",
    job_id: str = "",
    estimate: Estimate | None = None,
    priority: Priority = Priority.INTERACTIVE,
    deadline_s: float | None = None,
) -> Job:
    """A form with one file, whose bytes are `header` and then what lies in the blob store."""
    content_type, head, tail = written([*fields, ("model", target.model.model)], "file", "audio")
    estimate = estimate or estimate_audio(audio.length, target.model)
    return Job(
        id=job_id or new_job_id(),
        headers=(("content-type", content_type), ("accept", "*/*")),
        body=head + header,
        blob=audio,
        tail=tail,
        **_about(front, path, member, target, estimate, priority, deadline_s),
    )


@asynccontextmanager
async def under_way(front: Front, job: Job) -> AsyncIterator[Reply]:
    """The reply to a job that the block submits. Withdrawn, unless its answer came to an end or it runs on without us.
    Raises Unavailable."""
    try:
        reply = front.replies.open(job)
    except Unavailable:
        front.withdrawals.add(job.id)  # its upload may be in the store already
        raise
    del job  # its body may be large, and need not wait with its reply
    try:
        yield reply
    finally:
        front.close(reply)
        if not (reply.ended or reply.runs_on):
            front.withdrawals.add(reply.job_id)


async def submit(front: Front, job: Job, member: Member | None = None) -> None:
    """Puts the job on its lane, if its member's limits let it in; a large body goes into the blob store first.

    `member`: who asks, as it was found when the request came. Else the front does the member's work by itself: the
    member is looked up now, and the work has time. A job of the front's own is no member's, and has no limits. Raises
    LimitReached, Forbidden, NotFound for a member who is no more, Unavailable.
    """
    somebody_waits, dispatched = member is not None, member is None
    with broker_errors():
        if somebody_waits:
            front.lines.look(job.queue)  # beside the gate's own questions
        if len(job.body) > front.profile.limits.inline_body_kb * 1000:
            job = await _without_body(front, job)
        if job.member:
            member = member or await front.members.get(job.member)
            job = await with_standing(front, job, member)
            await front.gate.enter(member, job, dispatched=dispatched)
        async with _left_unless_enqueued(front, job):
            if somebody_waits:
                await front.lines.let_in(job)
            await _enqueue(front, job)
    log.info(
        "a request waits",
        extra={"action": "job.enqueued", "job": job.id, "member": job.member, "queue": job.lane, "width": job.width},
    )


@asynccontextmanager
async def _left_unless_enqueued(front: Front, job: Job) -> AsyncIterator[None]:
    """What was reserved is given back. Where the broker fails it is unknown whether the job is there: then it is
    withdrawn, and its reservation ends with it, or is found to belong to no job."""
    try:
        yield
    except BROKER_ERRORS:
        raise
    except BaseException:  # a client that left, too
        if job.member:
            await front.gate.leave(job.member, job.id)
        raise


async def _enqueue(front: Front, job: Job) -> None:
    try:
        await front.jobs.enqueue(job)
    except LimitReached as error:
        raise await front.lines.full(job.queue) from error


async def _without_body(front: Front, job: Job) -> Job:
    with storage_errors():
        await front.blobs.put(own_blob(job.id), job.body)
    return msgspec.structs.replace(job, body=b"", blob=Blob(own_blob(job.id), 0, len(job.body)))
