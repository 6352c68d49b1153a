"""From an admitted request to a job on its queue."""

import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import msgspec
from fastapi import Request

from api.body import write
from api.broker import broker_errors
from api.front import Front
from api.multipart import written
from api.replies import Reply
from api.storage import storage_errors
from familyai.errors import Unavailable
from familyai.job import Blob, Job, Priority, new_job_id, own_blob
from routing.admit import passed_on
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
    *,
    width: int = 1,
    accept: str = "*/*",
    priority: Priority = Priority.INTERACTIVE,
) -> Job:
    """The engine sees the body that was checked, written anew, and of the headers only what it answers by."""
    return Job(
        id=new_job_id(),
        queue=target.physical,
        model=target.model.model,
        member=member,
        front=front.id,
        method="POST",
        path=path,
        headers=(("content-type", "application/json"), ("accept", accept)),
        body=write({**passed_on(body), "model": target.model.model}),
        width=width,
        priority=priority,
        created_at_s=time.time(),
    )


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
    priority: Priority = Priority.INTERACTIVE,
) -> Job:
    """A form with one file, whose bytes are `header` and then what lies in the blob store."""
    content_type, head, tail = written([*fields, ("model", target.model.model)], "file", "audio")
    return Job(
        id=job_id or new_job_id(),
        queue=target.physical,
        model=target.model.model,
        member=member,
        front=front.id,
        method="POST",
        path=path,
        headers=(("content-type", content_type), ("accept", "*/*")),
        body=head + header,
        blob=audio,
        tail=tail,
        priority=priority,
        created_at_s=time.time(),
    )


@asynccontextmanager
async def under_way(front: Front, job: Job) -> AsyncIterator[Reply]:
    """The reply to a job that the block submits. Withdrawn, unless its answer came to an end. Raises Unavailable."""
    try:
        reply = front.replies.open(job.id, job.queue)
    except Unavailable:
        front.withdrawals.add(job.id, job.queue)  # its upload may be in the store already
        raise
    del job  # its body may be large, and need not wait with its reply
    try:
        yield reply
    finally:
        front.replies.close(reply)
        if not reply.ended:
            front.withdrawals.add(reply.job_id, reply.queue)


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
