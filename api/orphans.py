"""Jobs whose front is dead: nobody waits for their answers, so whichever front notices withdraws them.

A front that is alive says so once a second; one that stops leaves (`familyai.registry`). Who did neither for 5 s is
dead, and all of its jobs that wait or run are withdrawn; when that is done its entry goes. Whoever dies in between
leaves the entry, and another goes on; two at once do no harm. A job that is to outlive its front carries no front's
name.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable

from api.withdraw import Withdrawals
from familyai.broker import BROKER_ERRORS
from familyai.jobs import JobStore
from familyai.registry import FRONT_TTL_S, HEARTBEAT_INTERVAL_S, FrontRegistry, WorkerRegistry
from familyai.service import ServiceStore

log = logging.getLogger(__name__)


class Orphans:
    """`queues`: all that have workers. `beat` and `run` are for as long as the front runs, beside each other."""

    def __init__(
        self,
        front: str,
        fronts: FrontRegistry,
        withdrawals: Withdrawals,
        jobs: JobStore,
        service: ServiceStore,
        workers: WorkerRegistry,
        queues: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._front = front
        self._fronts = fronts
        self._withdrawals = withdrawals
        self._jobs = jobs
        self._service = service
        self._workers = workers
        self._queues = list(queues)
        self._clock = clock
        self._sure_from_s = math.inf
        self._dead: list[str] = []
        self._found = asyncio.Event()

    async def beat(self) -> None:
        """Until cancelled. Waits for nothing else: a front that does not beat loses its jobs."""
        while True:
            await self.look()
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def look(self) -> list[str]:
        """Beats. The fronts that are dead; none soon after this one was away itself, for the others may have been."""
        try:
            dead = await self._fronts.beat(self._front)
        except BROKER_ERRORS as error:
            log.warning("no heartbeat", extra={"action": "heartbeat.failed", "reason": type(error).__name__})
            dead = None
        now_s = self._clock()
        if dead is None:
            self._sure_from_s = now_s + FRONT_TTL_S
        self._dead = dead if dead and now_s >= self._sure_from_s else []
        if self._dead:
            self._found.set()
        return self._dead

    async def run(self) -> None:
        """Until cancelled. What the broker failed is done after the next look."""
        while True:
            await self._found.wait()
            self._found.clear()
            try:
                for front in self._dead:
                    await self.clear_up(front)
            except BROKER_ERRORS as error:
                extra = {"action": "front.not_cleared_up", "reason": type(error).__name__}
                log.warning("a dead front's jobs go on", extra=extra)

    async def clear_up(self, front: str) -> None:
        """Withdraws its jobs, and forgets it. Raises redis-py's errors."""
        count = 0
        for queue in self._queues:
            for job in await self._jobs.unfinished(queue):
                if job.front == front:
                    await self._withdrawals.now(job.id)
                    count += 1
        for queue, alive in (await self._workers.alive(self._queues)).items():
            await self._service.forget_dead(queue, alive)
        await self._fronts.leave(front)
        log.warning("a front died", extra={"action": "front.lost", "front": front, "jobs": count})

    async def leave(self) -> None:
        """It has stopped in order: nobody has to clear up, unless the broker has still to hear of withdrawals."""
        if self._withdrawals.are_owed:
            return
        try:
            await self._fronts.leave(self._front)
        except BROKER_ERRORS as error:
            log.warning("not left", extra={"action": "front.not_left", "reason": type(error).__name__})
