"""The thread in which a worker's engine lives: one event loop for the engine, its frames, its pulse and its port."""

import asyncio
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

import uvloop

from familyai import cancel
from familyai.blobs import BlobStore
from familyai.broker import BROKER_ERRORS, connect, connect_alone
from familyai.catalogue import Profile
from familyai.fair import FairOrder
from familyai.heap import settle_heap
from familyai.job_log import JobLog
from familyai.jobs import Delivery, JobStore
from familyai.lanes import lanes
from familyai.quota import Windows
from familyai.registry import WorkerRegistry
from familyai.service import ServiceStore
from familyai.settings import Settings
from familyai.usage import UsageStore
from workers.accounts import Accounts
from workers.engines import find_engine
from workers.fairness import Fairness, Waker
from workers.leftovers import Leftovers
from workers.logbook import Logbook
from workers.pulse import Pulse
from workers.serve import Server
from workers.turns import Turn, Turns

log = logging.getLogger(__name__)

_T = TypeVar("_T")
CLOSE_TIMEOUT_S = 15.0
ENGINE_DIED = 70
"""The exit code that says: start me again (`EX_SOFTWARE` of sysexits.h)."""


class Host:
    """Starts, feeds and closes one engine. Its public methods are called from other threads."""

    def __init__(self, settings: Settings, profile: Profile, queue: str, on_dead: Callable[[], None]) -> None:
        self.queue = queue
        self.worker = f"{queue}@{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:6]}"
        self.status = "loading"
        model = profile.model(queue)
        self.turns = Turns(FairOrder(model.slots, model.reserve_slots, profile.fairness))
        self.lanes: list[str] = []
        """The Celery queues to drain; known once it has loaded."""
        self._settings = settings
        self._profile = profile
        self._on_dead = on_dead
        self._closing = False
        self._server: Server | None = None
        self._registry: WorkerRegistry | None = None
        self._pulse: Pulse | None = None
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> list[str]:
        return list(self._server.running) if self._server else []

    def submit(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Runs a coroutine on the engine's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def load(self) -> None:
        """Blocks until the engine can answer. Raises whatever kept it from loading."""
        self.submit(self._load()).result()

    def serve(self, delivery: Delivery, turn: Turn) -> None:
        """Blocks until the job has ended."""
        if self._server is None:
            raise RuntimeError("serve before load")
        self.submit(self._server.serve(delivery, turn)).result()

    def drain(self) -> None:
        """No new jobs come from now on; the running ones have `drain_s` to finish, then they are left to others."""
        self.status = "stopping" if self.status == "ok" else self.status
        if self._pulse:
            self._pulse.drain()
        if self._server:
            drain_s, leave = self._profile.limits.drain_s, self._server.leave_behind
            self._loop.call_soon_threadsafe(self._loop.call_later, drain_s, leave)

    def close(self) -> None:
        """Frees what the engine holds; gives up on a stuck one after `CLOSE_TIMEOUT_S`, so that the process can end.

        A loading engine is not waited for: its processes die with this one.
        """
        self._closing = True
        if self.status == "loading":
            return
        try:
            self.submit(self._close()).result(CLOSE_TIMEOUT_S)
        except TimeoutError:
            log.error("the engine would not close", extra={"action": "engine.stuck", "queue": self.queue})
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1)

    async def _load(self) -> None:
        model = self._profile.model(self.queue)
        broker_url = self._settings.broker_url.get_secret_value()
        redis, wire = connect(broker_url), connect_alone(broker_url)
        self._stack.push_async_callback(redis.aclose)
        self._stack.push_async_callback(wire.aclose)
        opening = find_engine(model)(model, self._profile.limits, self._settings.home)
        engine = await self._stack.enter_async_context(opening)
        limits = self._profile.limits
        jobs, service = JobStore(redis, limits.record_ttl_s), ServiceStore(redis)
        blobs = BlobStore(self._settings.blobs, limits.disk_reserve_gb)
        accounts = Accounts(model, Windows(redis), UsageStore(redis, limits.usage_days))
        fairness = Fairness(self.queue, self.worker, self.turns, service, Waker(redis, self.worker, self.turns))
        self.turns.learn(await service.exchange(self.queue, {}))
        count = await service.lane_count(self._profile.fairness.lanes)
        self.lanes = [lane.name for lane in lanes(self.queue, count)]
        self._registry = WorkerRegistry(redis)
        logbook = Logbook(JobLog(redis, limits.replay_s), limits.replay_mb * 1e6)
        self._server = Server(self.queue, self.worker, wire, blobs, jobs, engine, fairness, accounts, logbook)
        self._pulse = pulse = Pulse(
            self.queue,
            self.worker,
            self.turns,
            self.lanes,
            self._server,
            engine,
            jobs,
            service,
            self._registry,
            self._is_dead,
        )
        leftovers = Leftovers(self.queue, redis, jobs)
        self._start(self._server.outbox.run(), logbook.run(), fairness.run(), leftovers.run())
        self._start(pulse.control(broker_url).run(), pulse.run())
        settle_heap()
        self.status = "ok"
        log.info("engine loaded", extra={"action": "engine.loaded", "queue": self.queue, "model": model.model})

    def _run_loop(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            if not self._closing:  # the engine's library called for an exit; nobody could be served any more
                log.critical("the engine's loop has ended", extra={"action": "engine.loop_ended", "queue": self.queue})
                os._exit(ENGINE_DIED)

    def _start(self, *coroutines: Coroutine[Any, Any, None]) -> None:
        tasks = [self._loop.create_task(coroutine) for coroutine in coroutines]
        for task in tasks:
            task.add_done_callback(self._ended)
        self._tasks += tasks

    def _ended(self, task: asyncio.Task[None]) -> None:
        """None of them ends while the worker lives: without its outbox or pulse it would fail its clients silently."""
        if not self._closing and not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the worker failed", exc_info=error, extra={"action": "worker.broken"})
            self._is_dead()

    def _is_dead(self) -> None:
        if self.status == "ok":
            self.status = "dead"
            self._on_dead()

    async def _close(self) -> None:
        if self._server:
            await self._server.outbox.flushed()
        await _cancel(self._tasks)
        if self._registry:
            with suppress(*BROKER_ERRORS):  # else the entry lapses by itself
                await self._registry.leave(self.queue, self.worker)
        await self._stack.aclose()
        await _cancel(asyncio.all_tasks() - {asyncio.current_task()})


async def _cancel(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    await cancel.end(task for task in tasks if task is not None)
