"""The response to a request that became a job: submitted, relayed, and withdrawn as soon as nobody waits for it."""

import asyncio
import logging

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.answer import Answer
from api.front import Front
from api.replies import Reply
from api.submit import submit, under_way
from familyai.errors import FamilyAIError, RequestError
from familyai.job import Job
from familyai.members import Member

log = logging.getLogger(__name__)


class ClientLeft(FamilyAIError):
    """Ends an answer that nobody waits for."""


class Relay(Response):
    """Raises RequestError as long as nothing was sent; later failures are in the answer, or cut it (AnswerBroken)."""

    def __init__(self, front: Front, member: Member, job: Job, answer: Answer) -> None:
        self.background = None
        self._front = front
        self._member = member
        self._job = job
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with under_way(self._front, self._job) as reply:
            leaving = asyncio.create_task(_fail_when_client_leaves(receive, reply))
            try:
                await submit(self._front, self._job, self._member)
                self._job = msgspec.structs.replace(self._job, body=b"")  # it waits elsewhere now
                await self._relay(reply, send)
            except ClientLeft:
                log.info("the client left", extra={"action": "client.left", "job": self._job.id})
            finally:
                leaving.cancel()

    async def _relay(self, reply: Reply, send: Send) -> None:
        while not self._answer.ended:
            try:
                messages = self._answer.messages(await reply.frames())
            except RequestError as error:
                log.warning("an answer broke", extra={"action": f"answer.{error.code}", "job": self._job.id})
                messages = self._answer.failure(error)
            for message in messages:
                await send(message)


async def _fail_when_client_leaves(receive: Receive, reply: Reply) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reply.fail(ClientLeft())
