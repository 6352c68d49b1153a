"""A client is told how its job goes: its place in the line, if it waits for long, and then its answer."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.types import Receive, Send

from api.answer import Answer
from api.comments import AT_LEAST_EVERY_S, AT_MOST_EVERY_S, OPEN_AFTER_S, STARTED, STILL_HERE, Comments
from api.front import Front
from api.line import FRESH_S
from api.replies import Reply
from familyai.errors import FamilyAIError, RequestError, Unavailable
from familyai.line import Place

log = logging.getLogger(__name__)

SEEN_AFTER_S = FRESH_S + 0.05
"""When a job that has not begun is looked for in its line: every view of it then has it."""


class ClientLeft(FamilyAIError):
    """Ends an answer that nobody waits for."""


class Teller:
    """Raises RequestError as long as nothing was sent; later failures are in the answer, or cut it (AnswerBroken)."""

    def __init__(self, front: Front, reply: Reply, answer: Answer, send: Send) -> None:
        self._front = front
        self._reply = reply
        self._answer = answer
        self._send = send

    async def tell(self) -> None:
        """To the answer's end. Raises ClientLeft, too."""
        await self._wait()
        await self._relay()

    async def _wait(self) -> None:
        """Until there is an answer to relay, or no place in the line to tell of. Who does not wait long sees nothing
        of it, and costs nothing."""
        if await self._reply.news(SEEN_AFTER_S):
            return
        with suppress(Unavailable):
            self._answer.place = await self._place()
            if self._answer.is_stream and not await self._reply.news(OPEN_AFTER_S - SEEN_AFTER_S):
                await self._comment()

    async def _comment(self) -> None:
        """Opens the stream of a job that waits, and says in it where it stands. Raises Unavailable before that."""
        place, comments = await self._place(), Comments()
        if place is None:
            return
        self._answer.place = place
        await self._send(self._answer.open())
        while place is not None:
            if words := comments.due(place, time.monotonic()):
                await self._send(self._answer.comment(words))
            if await self._reply.news(AT_MOST_EVERY_S):
                return
            with suppress(Unavailable):  # then what was heard last is said again, and keeps the stream alive
                place = await self._place()
        await self._send(self._answer.comment(STARTED))

    async def _place(self) -> Place | None:
        return await self._front.lines.place(self._reply.job_id, self._reply.queue)

    async def _relay(self) -> None:
        while not self._answer.ended:
            while not await self._reply.news(AT_LEAST_EVERY_S):
                if self._answer.is_between_events:  # its worker may have died, and another is to go on
                    await self._send(self._answer.comment(STILL_HERE))
            try:
                messages = self._answer.messages(await self._reply.frames())
            except RequestError as error:
                log.warning("an answer broke", extra={"action": f"answer.{error.code}", "job": self._reply.job_id})
                messages = self._answer.failure(error)
            for message in messages:
                await self._send(message)


@asynccontextmanager
async def while_client_stays(receive: Receive, reply: Reply) -> AsyncIterator[None]:
    """The reply fails with ClientLeft when its client leaves; the block ends then, and no error is seen outside."""
    leaving = asyncio.create_task(_fail_when_client_leaves(receive, reply))
    try:
        yield
    except ClientLeft:
        log.info("the client left", extra={"action": "client.left", "job": reply.job_id})
    finally:
        leaving.cancel()


async def _fail_when_client_leaves(receive: Receive, reply: Reply) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reply.fail(ClientLeft())
