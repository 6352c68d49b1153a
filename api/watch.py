"""Twice a second, every open reply is held against its job's record and the live workers, and so is every detached job.

What can be wrong, and for how long, says `api.troubles`.
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis.exceptions import OutOfMemoryError

from api.broker import broker_down
from api.caretaker import Caretaker
from api.follow import Followers
from api.replies import AT_ONCE_BYTES, Reply, ReplyHub
from api.troubles import LOST, SET_ASIDE, Since, Trouble, due, troubles, update, verdict
from api.withdraw import Withdrawals
from familyai.broker import BROKER_ERRORS
from familyai.errors import DecodeError, EngineFailed, Unavailable
from familyai.jobs import JobStore, Record, State
from familyai.past import Past
from familyai.registry import WorkerRegistry

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
SETTLING_S = 5.0
"""After an outage of the broker, workers need a moment to say that they live."""


class Watch:
    """Looks at all of them in one round trip each to the records and to the registry.

    An answer that is here to its end is whole, however slowly its client reads it.
    """

    def __init__(
        self,
        replies: ReplyHub,
        followers: Followers,
        withdrawals: Withdrawals,
        jobs: JobStore,
        registry: WorkerRegistry,
        caretaker: Caretaker,
        *,
        no_worker_wait_s: float,
        broker_wait_s: float,
    ) -> None:
        self._replies = replies
        self._followers = followers
        self._withdrawals = withdrawals
        self._jobs = jobs
        self._registry = registry
        self._caretaker = caretaker
        self._no_worker_wait_s = no_worker_wait_s
        self._broker_wait_s = broker_wait_s
        self._since: dict[str, Since] = {}
        self._moved: dict[Reply, tuple[tuple[int, int], float]] = {}
        self._away_since_s: float | None = None
        self._settled_at_s = 0.0

    async def run(self) -> None:
        """Looks until cancelled. A look that the broker failed is made up for by the next."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.look(time.monotonic())
                self._away_since_s = None
            except BROKER_ERRORS as error:
                log.warning("a look failed", extra={"action": "watch.failed", "reason": type(error).__name__})
                self._failed(time.monotonic())

    def _failed(self, now_s: float) -> None:
        self._settled_at_s = now_s + SETTLING_S
        self._away_since_s = self._away_since_s or now_s
        if now_s - self._away_since_s >= self._broker_wait_s:
            self._replies.fail_all(broker_down())

    async def look(self, now_s: float) -> None:
        """Withdraws what is still owed, mends what can be, fails the replies that waited long enough. Raises
        redis-py's errors."""
        with suppress(OutOfMemoryError):  # a full broker hears the rest
            await self._withdrawals.retry()
        replies = [reply for reply in self._replies.all() if not reply.ended]
        ended, detached = list(self._replies.unrecorded), set(await self._jobs.detached())
        records = await self._records({*(reply.job_id for reply in replies), *ended, *detached}, now_s)
        self._moved = {reply: self._last_moved(reply, now_s) for reply in replies}
        for job_id in detached:
            with _bearing(job_id):
                await self._caretaker.care(job_id, records[job_id], self._due(job_id, now_s))
        for reply in replies:
            with _bearing(reply.job_id):
                await self._see_to(reply, records[reply.job_id], now_s)
        for job_id in ended:
            await self._see_recorded(job_id, records[job_id], now_s)

    async def _records(self, job_ids: set[str], now_s: float) -> dict[str, Record]:
        """Of these jobs, whose troubles are known from here on."""
        known, self._since = self._since, {}
        if not job_ids:
            return {}
        found = zip(job_ids, await self._jobs.records(list(job_ids)), strict=True)
        records = dict(sorted(found))
        alive = await self._registry.alive(sorted({record.queue for record in records.values() if record.queue}))
        lanes = {lane for queue in alive for lane in await self._jobs.lanes_with_messages(queue)}
        for job_id, record in records.items():
            now = troubles(record, alive.get(record.queue or "", set()), lanes)
            self._since[job_id] = update(known.get(job_id, {}), now, now_s)
        return records

    def _due(self, job_id: str, now_s: float) -> list[Trouble]:
        """What is to be mended at once; it counts as mended."""
        since = self._since[job_id]
        now = [
            trouble for trouble in due(since, now_s) if trouble is not Trouble.WORKER_LOST or self._is_settled(now_s)
        ]
        for trouble in now:
            del since[trouble]
        return now

    def _is_settled(self, now_s: float) -> bool:
        return now_s >= self._settled_at_s

    async def _see_to(self, reply: Reply, record: Record, now_s: float) -> None:
        for trouble in [] if reply.is_guest else self._due(reply.job_id, now_s):
            if trouble is Trouble.WORKER_LOST:
                await self._take_back(reply, record)
            else:
                await self._caretaker.push_again(reply.job_id)
        since, is_cancelled = self._of_reply(reply), record.state is State.CANCELLED
        if Trouble.ENDED in since and reply.is_logged:
            reply.miss()  # the last frames may have been lost, which no other would tell
        wait_s = math.inf if reply.is_guest else self._no_worker_wait_s
        if (failure := verdict(since, now_s, wait_s, reply.deadline_s, is_cancelled=is_cancelled)) is not None:
            log.warning("a reply is given up", extra={"action": f"reply.{failure.code}", "job": reply.job_id})
            reply.fail(failure)
            if reply.is_guest and Trouble.QUEUED in since:
                self._withdrawals.add(reply.job_id)

    def _last_moved(self, reply: Reply, now_s: float) -> tuple[tuple[int, int], float]:
        """Where a reply stands, and since when; one that is read slowly is fed slowly, and stands for no loss."""
        position, since_s = self._moved.get(reply, (reply.position, now_s))
        stands = position == reply.position and reply.unread_bytes < AT_ONCE_BYTES
        return reply.position, since_s if stands else now_s

    def _of_reply(self, reply: Reply) -> Since:
        """Its job's troubles; an answer that ended has not been missing for longer than it stands still."""
        since = self._since[reply.job_id]
        _, stands_since_s = self._moved[reply]
        return {
            trouble: max(at_s, stands_since_s) if trouble is Trouble.ENDED else at_s for trouble, at_s in since.items()
        }

    async def _see_recorded(self, job_id: str, record: Record, now_s: float) -> None:
        """A worker that was killed between an answer's end and its record's."""
        if record.state is State.RUNNING and Trouble.WORKER_LOST not in self._due(job_id, now_s):
            return
        if record.state is State.RUNNING:
            await self._caretaker.record_end(job_id, record)
        self._replies.unrecorded.pop(job_id, None)

    async def _take_back(self, reply: Reply, record: Record) -> None:
        """Its worker died: another goes on, unless none can."""
        if reply.is_logged:  # what the worker had told may be further there than here
            await self._followers.catch_up(reply)
        if reply.ended:
            await self._caretaker.record_end(reply.job_id, record)
            return
        if (past := reply.past) is None:
            code, words = LOST
            reply.fail(Unavailable(words, code=code, retry_after_s=1))
            return
        became = await self._fenced(reply, record, past)
        if became is None and reply.is_logged:
            reply.miss()
        if became is State.FAILED:
            code, words = SET_ASIDE
            reply.fail(EngineFailed(words, code=code))

    async def _fenced(self, reply: Reply, record: Record, past: Past) -> State | None:
        """What the old attempt says from here on, the new one does not know; it counts again if there is no new one."""
        became = None
        reply.go_on(record.attempt + 1)
        try:
            became = await self._caretaker.take_back(reply.job_id, record, past)
        finally:
            if became is not State.QUEUED:
                reply.go_on(record.attempt)
        return became


@contextmanager
def _bearing(job_id: str) -> Iterator[None]:
    """A job that this version cannot read is no reason to look after none."""
    try:
        yield
    except DecodeError as error:
        log.error("job unreadable", extra={"action": "job.unreadable", "job": job_id, "reason": str(error)})
