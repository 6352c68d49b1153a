"""A job of the front's own: submitted and answered as a client's would be, its answer kept instead of passed on."""

from dataclasses import dataclass

from api.front import Front
from api.submit import submit, under_way
from familyai.errors import Unavailable
from familyai.frame import Body, End, Start
from familyai.job import Job

LARGEST_ANSWER_BYTES = 64_000_000


@dataclass(frozen=True)
class Answered:
    """An engine's whole answer."""

    status: int
    body: bytes


async def call(front: Front, job: Job) -> Answered:
    """Raises RequestError: Unavailable where trying again may help. Cancelling it withdraws the job."""
    status, parts, size = 500, [], 0
    async with under_way(front, job) as reply:
        await submit(front, job)
        while True:
            for frame in await reply.frames():
                match frame:
                    case Start():
                        status = frame.status
                    case Body():
                        parts.append(frame.data)
                        size += len(frame.data)
                    case End():
                        return Answered(status, b"".join(parts))
            if size > LARGEST_ANSWER_BYTES:
                raise Unavailable("the answer is too large to be kept", code="answer_too_large")
