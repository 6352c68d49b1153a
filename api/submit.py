"""From an admitted request to a job on its queue."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import msgspec
from fastapi import Request

from api.body import write
from api.broker import broker_errors
from api.front import Front
from api.replies import Reply
from api.storage import storage_errors
from familyai.job import Blob, Job, new_job_id, own_blob
from familyai.members import Member
from routing.admit import passed_on
from routing.resolve import Target

log = logging.getLogger(__name__)


def route_path(request: Request) -> str:
    """As the route was declared: `request.url` also takes in what the client wrote into its Host header."""
    return cast(str, request.scope["route"].path_format)


def new_job(front: Front, request: Request, member: Member, target: Target, body: dict[str, object], width: int) -> Job:
    """The engine sees the body that was checked, written anew, and of the headers only what it answers by."""
    return Job(
        id=new_job_id(),
        queue=target.physical,
        model=target.model.model,
        member=member.name,
        front=front.id,
        method=request.method,
        path=route_path(request),
        headers=(("content-type", "application/json"), ("accept", request.headers.get("accept", "*/*"))),
        body=write({**passed_on(body), "model": target.model.model}),
        width=width,
        created_at_s=time.time(),
    )


@asynccontextmanager
async def under_way(front: Front, job: Job) -> AsyncIterator[Reply]:
    """The reply to a job that the block submits. Withdrawn, unless its answer came to an end. Raises Unavailable."""
    reply = front.replies.open(job.id, job.queue)
    try:
        yield reply
    finally:
        front.replies.close(reply)
        if not reply.ended:
            front.withdrawals.add(job.id, job.queue)


async def submit(front: Front, job: Job) -> None:
    """Puts the job on its queue, a large body into the blob store first. Raises Unavailable."""
    if len(job.body) > front.profile.limits.inline_body_kb * 1000:
        job = await _without_body(front, job)
    with broker_errors():
        await front.jobs.enqueue(job)
    log.info(
        "a request waits",
        extra={"action": "job.enqueued", "job": job.id, "member": job.member, "queue": job.lane, "width": job.width},
    )


async def _without_body(front: Front, job: Job) -> Job:
    with storage_errors():
        await front.blobs.put(own_blob(job.id), job.body)
    return msgspec.structs.replace(job, body=b"", blob=Blob(own_blob(job.id), 0, len(job.body)))
