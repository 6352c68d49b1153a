"""A worker's signs of life, and its ear for cancellations."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from familyai import keys
from familyai.broker import BROKER_ERRORS
from familyai.jobs import JobStore, State
from familyai.registry import HEARTBEAT_INTERVAL_S, WorkerRegistry
from familyai.service import ServiceStore
from familyai.subscription import Subscription
from workers import metrics
from workers.engines import Engine
from workers.serve import Server
from workers.turns import Turns

log = logging.getLogger(__name__)

STUCK_BEATS = 30
"""So many beats in a row with messages that could be served and none taken, and the consumer counts as stuck."""


class Pulse:
    """Beats while the worker can serve; tells `on_dead` once when it no longer can.

    Cancellations arrive at once on the control channel; each beat asks again, for a message may be missed.
    """

    def __init__(
        self,
        queue: str,
        worker: str,
        turns: Turns,
        lanes: Iterable[str],
        server: Server,
        engine: Engine,
        jobs: JobStore,
        service: ServiceStore,
        registry: WorkerRegistry,
        on_dead: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._turns = turns
        self._lanes = frozenset(lanes)
        self._idle_beats = 0
        self._taken = 0
        self._draining = False
        self._server = server
        self._engine = engine
        self._jobs = jobs
        self._service = service
        self._registry = registry
        self._on_dead = on_dead

    def control(self, broker_url: str) -> Subscription:
        return Subscription(
            broker_url, keys.control(self._worker), lambda message: self._server.abandon(message.decode())
        )

    def drain(self) -> None:
        """From now on messages are left to others on purpose; running jobs still need the beats. From any thread."""
        self._draining = True

    async def run(self) -> None:
        """Until cancelled, until the engine is dead, or until Celery no longer takes the jobs that wait."""
        while self._engine.healthy() and self._idle_beats < STUCK_BEATS:
            began_s = time.monotonic()
            metrics.loaded.labels(self._queue).set(1)
            try:
                await self._beat()
            except BROKER_ERRORS as error:
                log.warning("no heartbeat", extra={"action": "heartbeat.failed", "reason": type(error).__name__})
            took_s = time.monotonic() - began_s  # seconds, where the broker is far away
            await asyncio.sleep(HEARTBEAT_INTERVAL_S - took_s)
        metrics.loaded.labels(self._queue).set(0)
        is_dead = not self._engine.healthy()
        action = "engine.dead" if is_dead else "consumer.stuck"
        log.error("this worker can serve nobody", extra={"action": action, "queue": self._queue})
        if is_dead:
            with suppress(*BROKER_ERRORS):  # then its entry lapses, and its jobs are taken back a little later
                await self._registry.leave(self._queue, self._worker)
        self._on_dead()

    async def _beat(self) -> None:
        await self._registry.beat(self._queue, self._worker)
        running = self._server.running
        for (job_id, attempt), record in zip(running.items(), await self._jobs.renew(list(running)), strict=True):
            is_ours = (record.worker, record.attempt) == (self._worker, attempt)
            if record.state in (State.CANCELLED, None) or not is_ours:
                self._server.abandon(job_id, attempt)  # or it was taken back from us, who seemed dead
        await self._service.forget_dead(self._queue, (await self._registry.alive([self._queue]))[self._queue])
        took_none, self._taken = self._server.taken == self._taken, self._server.taken
        stands_idle = took_none and not self._draining and await self._could_begin()
        self._idle_beats = self._idle_beats + 1 if stands_idle else 0

    async def _could_begin(self) -> bool:
        """Whether a message lies in a lane that may be served."""
        return self._turns.could_begin(self._lanes & await self._jobs.lanes_with_messages(self._queue))
