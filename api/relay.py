"""The response to a request that became a job: submitted, told of its wait, relayed, and withdrawn as soon as nobody
waits for it."""

import asyncio
import logging
import time
from contextlib import suppress

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.answer import Answer
from api.comments import AT_LEAST_EVERY_S, AT_MOST_EVERY_S, OPEN_AFTER_S, STARTED, STILL_HERE, Comments
from api.front import Front
from api.learn import remember
from api.line import FRESH_S
from api.replies import Reply
from api.submit import submit, under_way
from familyai.errors import FamilyAIError, RequestError, Unavailable
from familyai.feedback import Routed
from familyai.job import Job
from familyai.line import Place
from familyai.members import Member

log = logging.getLogger(__name__)

SEEN_AFTER_S = FRESH_S + 0.05
"""When a job that has not begun is looked for in its line: every view of it then has it."""


class ClientLeft(FamilyAIError):
    """Ends an answer that nobody waits for."""


class Relay(Response):
    """Raises RequestError as long as nothing was sent; later failures are in the answer, or cut it (AnswerBroken)."""

    def __init__(self, front: Front, member: Member, job: Job, answer: Answer, routed: Routed | None = None) -> None:
        """`routed`: what is to be kept of the request once it is let in."""
        self.background = None
        self._front = front
        self._member = member
        self._job = job
        self._answer = answer
        self._routed = routed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with under_way(self._front, self._job) as reply:
            leaving = asyncio.create_task(_fail_when_client_leaves(receive, reply))
            try:
                await submit(self._front, self._job, self._member)
                self._job = msgspec.structs.replace(self._job, body=b"")  # it waits elsewhere now
                await self._remember()
                await self._wait(reply, send)
                await self._relay(reply, send)
            except ClientLeft:
                log.info("the client left", extra={"action": "client.left", "job": self._job.id})
            finally:
                leaving.cancel()

    async def _remember(self) -> None:
        if self._routed is not None:
            await remember(self._front, self._routed)
            self._routed = None  # nor does this wait with its reply

    async def _wait(self, reply: Reply, send: Send) -> None:
        """Until there is an answer to relay, or no place in the line to tell of. Who does not wait long sees nothing
        of it, and costs nothing."""
        if await reply.news(SEEN_AFTER_S):
            return
        with suppress(Unavailable):
            self._answer.place = await self._place()
            if self._answer.is_stream and not await reply.news(OPEN_AFTER_S - SEEN_AFTER_S):
                await self._comment(reply, send)

    async def _comment(self, reply: Reply, send: Send) -> None:
        """Opens the stream of a job that waits, and says in it where it stands. Raises Unavailable before that."""
        place, comments = await self._place(), Comments()
        if place is None:
            return
        self._answer.place = place
        await send(self._answer.open())
        while place is not None:
            if words := comments.due(place, time.monotonic()):
                await send(self._answer.comment(words))
            if await reply.news(AT_MOST_EVERY_S):
                return
            with suppress(Unavailable):  # then what was heard last is said again, and keeps the stream alive
                place = await self._place()
        await send(self._answer.comment(STARTED))

    async def _place(self) -> Place | None:
        return await self._front.lines.place(self._job.id, self._job.queue)

    async def _relay(self, reply: Reply, send: Send) -> None:
        while not self._answer.ended:
            while not await reply.news(AT_LEAST_EVERY_S):
                if self._answer.is_between_events:  # its worker may have died, and another is to go on
                    await send(self._answer.comment(STILL_HERE))
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
