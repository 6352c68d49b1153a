"""The thread in which a worker's engine lives: one event loop for the engine, its frames, its pulse and its port."""

import asyncio
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import uvloop

from familyai.blobs import BlobStore
from familyai.broker import BROKER_ERRORS, connect
from familyai.catalogue import Profile
from familyai.jobs import JobStore
from familyai.registry import WorkerRegistry
from familyai.settings import Settings
from workers.engines import find_engine
from workers.pulse import Pulse
from workers.serve import Server

log = logging.getLogger(__name__)

_T = TypeVar("_T")
CLOSE_TIMEOUT_S = 15.0


class Host:
    """Starts, feeds and closes one engine. Its public methods are called from other threads."""

    def __init__(self, settings: Settings, profile: Profile, queue: str, on_dead: Callable[[], None]) -> None:
        self.queue = queue
        self.worker = f"{queue}@{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:6]}"
        self.status = "loading"
        self._settings = settings
        self._profile = profile
        self._on_dead = on_dead
        self._server: Server | None = None
        self._registry: WorkerRegistry | None = None
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> list[str]:
        return self._server.running if self._server else []

    def submit(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Runs a coroutine on the engine's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def load(self) -> None:
        """Blocks until the engine can answer. Raises whatever kept it from loading."""
        self.submit(self._load()).result()

    def serve(self, job_id: str) -> None:
        """Blocks until the job has ended."""
        if self._server is None:
            raise RuntimeError("serve before load")
        self.submit(self._server.serve(job_id)).result()

    def close(self) -> None:
        """Frees what the engine holds; gives up on a stuck one after `CLOSE_TIMEOUT_S`, so that the process can end."""
        self.status = "stopping"
        try:
            self.submit(self._close()).result(CLOSE_TIMEOUT_S)
        except TimeoutError:
            log.error("the engine would not close", extra={"action": "engine.stuck", "queue": self.queue})
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1)

    async def _load(self) -> None:
        model = self._profile.model(self.queue)
        broker_url = self._settings.broker_url.get_secret_value()
        redis = connect(broker_url)
        self._stack.push_async_callback(redis.aclose)
        engine = await self._stack.enter_async_context(find_engine(model)(model, self._settings.home))
        jobs = JobStore(redis, self._profile.limits.record_ttl_s)
        self._registry = WorkerRegistry(redis)
        self._server = Server(self.queue, self.worker, redis, BlobStore(self._settings.blobs), jobs, engine)
        pulse = Pulse(self.queue, self.worker, self._server, engine, jobs, self._registry, self._die)
        self._start(self._server.outbox.run(), pulse.control(broker_url).run(), pulse.run())
        self.status = "ok"
        log.info("engine loaded", extra={"action": "engine.loaded", "queue": self.queue, "model": model.model})

    def _start(self, *coroutines: Coroutine[Any, Any, None]) -> None:
        self._tasks += [self._loop.create_task(coroutine) for coroutine in coroutines]

    def _die(self) -> None:
        self.status = "dead"
        self._on_dead()

    async def _close(self) -> None:
        if self._server and self._registry:
            await self._leave(self._server, self._registry)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        await _cancel_the_rest()

    async def _leave(self, server: Server, registry: WorkerRegistry) -> None:
        try:
            await server.outbox.flushed()
            await registry.leave(self.queue, self.worker)
        except BROKER_ERRORS:
            return  # the entry lapses by itself


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
