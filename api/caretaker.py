"""What is done for jobs whose workers died; and detached jobs, whose client may leave, and whose front may die: every
front looks after all of them.

Whatever is done to them is atomic and fenced by attempt, so it does no harm that several fronts do it, or that one of
them dies in between. What must be said of a job stands in its log, for whoever reads it there.
"""

import logging
import time

from api.follow import Followers
from api.replies import Reply
from api.troubles import LOST, QUEUE_TIMEOUT, SET_ASIDE, Trouble
from api.withdraw import Withdrawals
from familyai.errors import DecodeError
from familyai.frame import NO_SEQ, Failed, encode_frames
from familyai.job import Job
from familyai.job_log import Entry, JobLog
from familyai.jobs import JobStore, Record, State
from familyai.past import Past

log = logging.getLogger(__name__)


def last_words(job_id: str, attempt: int, code: str, message: str) -> Entry:
    """An entry of a job's log after which no attempt says anything."""
    said = Failed(job_id, attempt, NO_SEQ, code, message)
    return Entry(job_id, attempt + 1, 1, encode_frames((said,)))


class Caretaker:
    """Every method may raise one of BROKER_ERRORS; what was not done is done at the next look."""

    def __init__(
        self, jobs: JobStore, logs: JobLog, followers: Followers, withdrawals: Withdrawals, queue_wait_s: float
    ) -> None:
        self._jobs = jobs
        self._logs = logs
        self._followers = followers
        self._withdrawals = withdrawals
        self._queue_wait_s = queue_wait_s

    async def care(self, job_id: str, record: Record, troubles: list[Trouble]) -> None:
        """`troubles`: what must be mended now."""
        if record.state not in (State.QUEUED, State.RUNNING):
            await self._withdrawals.forget_body(job_id)
            await self._jobs.forget_detached([job_id])
        elif record.state is State.QUEUED and time.time() - record.queued_at_s > self._queue_wait_s:
            await self._end(job_id, record, *QUEUE_TIMEOUT)
            self._withdrawals.add(job_id)
        elif Trouble.WORKER_LOST in troubles:
            await self._go_on(job_id, record)
        elif Trouble.MESSAGE_LOST in troubles:
            await self.push_again(job_id)

    async def push_again(self, job_id: str) -> None:
        """Its message was lost with the worker that had taken it."""
        log.warning("a message was lost", extra={"action": "message.pushed_again", "job": job_id})
        await self._jobs.push_again(job_id)

    async def take_back(self, job_id: str, record: Record, past: Past) -> State | None:
        """What it became: it waits for another worker to go on from `past`, or failed, as one attempt too many died
        over it. None if it has ended, or its worker lives after all."""
        became = await self._jobs.take_back(job_id, record.attempt, past)
        if became is not None:
            extra = {"action": f"job.taken_back_{became}", "job": job_id, "attempt": record.attempt}
            log.warning("a worker died over a job", extra=extra | {"worker": record.worker, "frames": past.frames})
        return became

    async def record_end(self, job_id: str, record: Record, state: State = State.DONE) -> None:
        """The worker died before it could."""
        if (job := await self._read(job_id)) is not None:
            await self._jobs.finish(job, record.attempt, state)
            await self._withdrawals.forget_body(job_id)

    async def _go_on(self, job_id: str, record: Record) -> None:
        """With what its log has of the answer, unless that is all of it, or nobody can go on with it."""
        if (job := await self._read(job_id)) is None:
            return
        reply = Reply(job_id, job.queue, continues=job.continues)
        await self._followers.catch_up(reply)
        if reply.ended:
            await self.record_end(job_id, record)
        elif (past := reply.past) is None:
            await self._end(job_id, record, *LOST)
            await self.record_end(job_id, record, State.FAILED)
        elif await self.take_back(job_id, record, past) is State.FAILED:
            await self._end(job_id, record, *SET_ASIDE)

    async def _read(self, job_id: str) -> Job | None:
        try:
            return await self._jobs.read(job_id)
        except DecodeError:
            return None

    async def _end(self, job_id: str, record: Record, code: str, message: str) -> None:
        await self._logs.append([last_words(job_id, record.attempt, code, message)])
