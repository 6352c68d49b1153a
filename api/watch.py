"""Silence is not an answer: once a second, every open reply is held against its job's record and the live workers.

What can be wrong with a job, and how long it may be so before its client is told:

1. NO_WORKER    it is queued and its queue has no live worker        `no_worker_wait_s`
2. QUEUED       it is queued, and was never begun                    its deadline: `queue_wait_s`, or its client's
3. ENDED        its record is gone or ended, its answer is not over  5 s, the last frames may be on their way

Two more are mended, not told:

* WORKER_LOST   it runs on a worker that is not alive. It is taken back, and waits at the head of its lane for another
  that goes on with its answer. Only where no engine can go on with it, or its workers died one after another, is its
  client told.
* MESSAGE_LOST  it is queued, and there is no message on its lane for 5 s. A worker that is killed between taking a
  message and claiming its job takes the message with it, so another is pushed.
"""

import asyncio
import logging
import time
from enum import Enum

from api.replies import Reply, ReplyHub
from api.withdraw import Withdrawals
from familyai.broker import BROKER_ERRORS
from familyai.errors import EngineFailed, Unavailable
from familyai.jobs import JobStore, Record, State
from familyai.registry import WorkerRegistry

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
WORKER_LOST_S = 1.0
"""After a restart of the broker, workers need a moment to say that they live."""
ENDED_S = 5.0
MESSAGE_LOST_S = 5.0


class Trouble(Enum):
    NO_WORKER = 1
    QUEUED = 2
    ENDED = 3
    WORKER_LOST = 4
    MESSAGE_LOST = 5


TOLD = (Trouble.NO_WORKER, Trouble.QUEUED, Trouble.ENDED)
"""What a client is told of, sooner or later, in this order."""
MENDED_AFTER_S = {Trouble.WORKER_LOST: WORKER_LOST_S, Trouble.MESSAGE_LOST: MESSAGE_LOST_S}


Since = dict[Trouble, float]
"""When each of a job's troubles was first seen, of those it has now."""


def troubles(record: Record, alive: set[str], lanes: set[str]) -> set[Trouble]:
    """`alive`: the workers of the job's queue; `lanes`: those in which a message lies."""
    match record.state:
        case State.QUEUED:
            waits = {Trouble.QUEUED: record.attempt == 0, Trouble.NO_WORKER: not alive}
            waits[Trouble.MESSAGE_LOST] = record.lane not in lanes
            return {trouble for trouble, is_so in waits.items() if is_so}
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
            await self._mend(reply, record, since, now_s)
            if (failure := verdict(since, now_s, self._no_worker_wait_s, reply.deadline_s)) is not None:
                log.warning("a reply is given up", extra={"action": f"reply.{failure.code}", "job": reply.job_id})
                reply.fail(failure)

    async def _mend(self, reply: Reply, record: Record, since: Since, now_s: float) -> None:
        due = [trouble for trouble, after_s in MENDED_AFTER_S.items() if now_s - since.get(trouble, now_s) >= after_s]
        for trouble in due:
            del since[trouble]
            if trouble is Trouble.WORKER_LOST:
                await self._take_back(reply, record)
            else:
                log.warning("a message was lost", extra={"action": "message.pushed_again", "job": reply.job_id})
                await self._jobs.push_again(reply.job_id)

    async def _take_back(self, reply: Reply, record: Record) -> None:
        """Its worker died: another goes on, unless none can."""
        if (past := reply.past) is None:
            reply.fail(_worker_lost())
            return
        became = await self._jobs.take_back(reply.job_id, record.attempt, past)
        if became is None:  # it has ended, or its worker lives after all
            return
        extra = {"action": f"job.taken_back_{became}", "job": reply.job_id, "attempt": record.attempt}
        log.warning("a worker died over a job", extra=extra | {"worker": record.worker, "frames": past.frames})
        if became is State.QUEUED:
            reply.go_on(record.attempt + 1)
        else:
            reply.fail(_set_aside(record.attempt))


def _worker_lost() -> Unavailable:
    words = "the worker died in the middle of an answer that cannot be continued, so ask again"
    return Unavailable(words, code="worker_lost", retry_after_s=1)


def _set_aside(attempts: int) -> EngineFailed:
    words = f"{attempts} workers died one after another over this request, so it was set aside"
    return EngineFailed(words, code="set_aside")
