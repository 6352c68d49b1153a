"""Silence is not an answer: once a second, every open reply is held against its job's record and the live workers.

What can be wrong with a job, and how long it may be so before its client is told:

1. NO_WORKER    it is queued and its queue has no live worker        `no_worker_wait_s`
2. QUEUED       it is queued                                         its deadline: `queue_wait_s`, or its client's
3. WORKER_LOST  it runs on a worker that is not alive                one more look, the record may be on its way
4. ENDED        its record is gone or ended, its answer is not over  5 s, the last frames may be on their way

One more is mended, not told: a queued job without a message on its lane for 5 s. A worker that is killed between
taking a message and claiming its job takes the message with it, so another is pushed.
"""

import asyncio
import logging
import time
from enum import Enum

from api.replies import ReplyHub
from api.withdraw import Withdrawals
from familyai.broker import BROKER_ERRORS
from familyai.errors import Unavailable
from familyai.jobs import JobStore, Record, State
from familyai.registry import WorkerRegistry

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
WORKER_LOST_S = 0.5
ENDED_S = 5.0
MESSAGE_LOST_S = 5.0


class Trouble(Enum):
    """In the order in which they are reported."""

    NO_WORKER = 1
    QUEUED = 2
    WORKER_LOST = 3
    ENDED = 4
    MESSAGE_LOST = 5


TOLD = (Trouble.NO_WORKER, Trouble.QUEUED, Trouble.WORKER_LOST, Trouble.ENDED)
"""What a client is told of, sooner or later."""


Since = dict[Trouble, float]
"""When each of a job's troubles was first seen, of those it has now."""


def troubles(record: Record, alive: set[str], lanes: set[str]) -> set[Trouble]:
    """`alive`: the workers of the job's queue; `lanes`: those in which a message lies."""
    match record.state:
        case State.QUEUED:
            no_worker = set() if alive else {Trouble.NO_WORKER}
            return {Trouble.QUEUED} | no_worker | (set() if record.lane in lanes else {Trouble.MESSAGE_LOST})
        case State.RUNNING:
            return set() if record.worker in alive else {Trouble.WORKER_LOST}
        case _:
            return {Trouble.ENDED}


def update(since: Since, now: set[Trouble], now_s: float) -> Since:
    """A trouble that passed is forgotten: its time starts anew when it comes back."""
    return {trouble: since.get(trouble, now_s) for trouble in now}


def verdict(since: Since, now_s: float, no_worker_wait_s: float, deadline_s: float) -> Unavailable | None:
    """What to tell the client, if it must be told."""
    for trouble in TOLD:
        allowed_s = _allowed_s(trouble, no_worker_wait_s, deadline_s)
        if trouble in since and now_s - since[trouble] >= allowed_s:
            return _failure(trouble, allowed_s)
    return None


def _allowed_s(trouble: Trouble, no_worker_wait_s: float, deadline_s: float) -> float:
    match trouble:
        case Trouble.NO_WORKER:
            return no_worker_wait_s
        case Trouble.QUEUED:
            return deadline_s
        case Trouble.WORKER_LOST:
            return WORKER_LOST_S
        case _:
            return ENDED_S


def _failure(trouble: Trouble, waited_s: float) -> Unavailable:
    match trouble:
        case Trouble.NO_WORKER:
            message = f"no worker has served this model for {waited_s:g} s; if it is starting, ask again in a minute"
            return Unavailable(message, code="no_worker", retry_after_s=10)
        case Trouble.QUEUED:
            message = f"the request waited its {waited_s:g} s and was not begun"
            return Unavailable(message, code="queue_timeout", retry_after_s=10)
        case Trouble.WORKER_LOST:
            return Unavailable(
                "the worker died while it answered; another takes its place by itself, so ask again",
                code="worker_lost",
                retry_after_s=1,
            )
        case _:
            return Unavailable("the end of the answer was lost on its way", code="reply_lost", retry_after_s=1)


class Watch:
    """Looks at all open replies in one round trip each to the records and to the registry.

    An answer that is here to its end is whole, however slowly its client reads it.
    """

    def __init__(
        self,
        replies: ReplyHub,
        withdrawals: Withdrawals,
        jobs: JobStore,
        registry: WorkerRegistry,
        no_worker_wait_s: float,
    ) -> None:
        self._replies = replies
        self._withdrawals = withdrawals
        self._jobs = jobs
        self._registry = registry
        self._no_worker_wait_s = no_worker_wait_s
        self._since: dict[str, Since] = {}

    async def run(self) -> None:
        """Looks until cancelled. A look that the broker failed is made up for by the next."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.look(time.monotonic())
            except BROKER_ERRORS as error:
                log.warning("a look failed", extra={"action": "watch.failed", "reason": type(error).__name__})

    async def look(self, now_s: float) -> None:
        """Withdraws what is still owed, fails the replies that waited long enough. Raises redis-py's errors."""
        await self._withdrawals.retry()
        replies = [reply for reply in self._replies.all() if not reply.ended]
        if not replies:
            self._since = {}
            return
        alive = await self._registry.alive(sorted({reply.queue for reply in replies}))
        lanes = {lane for queue in alive for lane in await self._jobs.lanes_with_messages(queue)}
        records = await self._jobs.records([reply.job_id for reply in replies])
        known, self._since = self._since, {}
        for reply, record in zip(replies, records, strict=True):
            now = troubles(record, alive[reply.queue], lanes)
            since = self._since[reply.job_id] = update(known.get(reply.job_id, {}), now, now_s)
            await self._mend(reply.job_id, since, now_s)
            if (failure := verdict(since, now_s, self._no_worker_wait_s, reply.deadline_s)) is not None:
                log.warning("a reply is given up", extra={"action": f"reply.{failure.code}", "job": reply.job_id})
                reply.fail(failure)

    async def _mend(self, job_id: str, since: Since, now_s: float) -> None:
        if now_s - since.get(Trouble.MESSAGE_LOST, now_s) < MESSAGE_LOST_S:
            return
        log.warning("a message was lost", extra={"action": "message.pushed_again", "job": job_id})
        del since[Trouble.MESSAGE_LOST]
        await self._jobs.push_again(job_id)
