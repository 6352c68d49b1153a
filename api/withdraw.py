"""Jobs that nobody waits for any more are taken back: at once, or as soon as the broker can hear it."""

import asyncio
import logging
import time

from familyai.blobs import BlobStore
from familyai.broker import BROKER_ERRORS
from familyai.job import own_blob
from familyai.jobs import JobStore

log = logging.getLogger(__name__)

LAST_TRIES_S = 2.0
"""How long a stopping front waits for what it has still to withdraw."""


class Withdrawals:
    """Owed to the broker until it has heard them, or until the job's record has expired anyway."""

    def __init__(self, jobs: JobStore, blobs: BlobStore, record_ttl_s: float) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._record_ttl_s = record_ttl_s
        self._owed: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, job_id: str) -> None:
        """The job never starts, or stops at once. Waits for nothing."""
        log.info("a job is withdrawn", extra={"action": "job.withdrawn", "job": job_id})
        self._owed.setdefault(job_id, time.monotonic() + self._record_ttl_s)
        task = asyncio.create_task(self._withdraw(job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def are_owed(self) -> bool:
        """Whether the broker has not heard all of them yet."""
        return bool(self._owed)

    async def now(self, job_id: str) -> None:
        """The same at once, for somebody who will see to it that it is tried again. Raises redis-py's errors."""
        await self._jobs.cancel(job_id)
        await self.forget_body(job_id)

    async def retry(self) -> None:
        """What the broker has not heard yet. Raises redis-py's errors at the first that fails again."""
        for job_id in list(self._owed):
            await self._cancel(job_id)

    async def finish(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_TRIES_S)

    async def _withdraw(self, job_id: str) -> None:
        try:
            await self._cancel(job_id)
        except BROKER_ERRORS as error:
            extra = {"action": "job.not_withdrawn", "job": job_id, "reason": type(error).__name__}
            log.warning("not withdrawn yet", extra=extra)
        await self.forget_body(job_id)

    async def forget_body(self, job_id: str) -> None:
        """Of a job that has ended. Waits for no broker."""
        try:
            await self._blobs.delete(own_blob(job_id))
        except OSError as error:
            log.warning("its body stays", extra={"action": "blob.not_deleted", "job": job_id, "reason": str(error)})

    async def _cancel(self, job_id: str) -> None:
        if time.monotonic() < self._owed.get(job_id, 0.0):
            await self._jobs.cancel(job_id)
        self._owed.pop(job_id, None)
