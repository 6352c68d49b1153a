"""The response to a request that becomes a job: submitted, and withdrawn as soon as nobody waits for it."""

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.answer import Answer
from api.front import Front
from api.learn import remember
from api.submit import submit, under_way
from api.tell import Teller, while_client_stays
from familyai.feedback import Routed
from familyai.job import Job
from familyai.members import Member


class Relay(Response):
    """Raises RequestError as long as nothing was sent; later failures are in the answer, or cut it (AnswerBroken)."""

    def __init__(
        self,
        front: Front,
        member: Member,
        job: Job,
        answer: Answer,
        routed: Routed | None = None,
        *,
        is_detached: bool = False,
    ) -> None:
        """`routed`: what is to be kept of the request once it is let in. `is_detached`: it runs on without a client."""
        self.background = None
        self._front = front
        self._member = member
        waited_for_by = "" if is_detached else job.front
        self._job = msgspec.structs.replace(job, front=waited_for_by, streams=answer.is_stream, logged=True)
        self._answer = answer
        self._routed = routed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with under_way(self._front, self._job) as reply, while_client_stays(receive, reply):
            await submit(self._front, self._job, self._member)
            reply.runs_on = self._job.is_detached
            self._job = msgspec.structs.replace(self._job, body=b"")  # it waits elsewhere now
            await self._remember()
            await Teller(self._front, reply, self._answer, send).tell()

    async def _remember(self) -> None:
        if self._routed is not None:
            await remember(self._front, self._routed)
            self._routed = None  # nor does this wait with its reply
