"""The fair order in motion: running jobs are charged as they grow, other workers of the model told, Celery woken."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis.asyncio import Redis

from familyai.broker import BROKER_ERRORS
from familyai.service import ServiceStore
from workers.turns import HOLD_S, Turn, Turns

log = logging.getLogger(__name__)

BUSY_S = 0.05
IDLE_S = 1.0
GAP_S = 0.005
"""Between two exchanges, however much there is to tell."""
WAKE_S = 0.002
WAKE_TRIES = 100


class Fairness:
    """Several workers of one model are as fair as one: what each has charged is exchanged all the time.

    Runs on the engine's loop, as do all who call it.
    """

    def __init__(self, queue: str, turns: Turns, service: ServiceStore, waker: "Waker") -> None:
        self._queue = queue
        self._turns = turns
        self._service = service
        self._waker = waker
        self._running: dict[Turn, Callable[[], float]] = {}
        self._news = asyncio.Event()

    @contextmanager
    def running(self, turn: Turn, service: Callable[[], float]) -> Iterator[None]:
        """A turn, from its begin to its end. `service` says what it has cost so far."""
        self._running[turn] = service
        self._news.set()
        try:
            yield
        finally:
            del self._running[turn]
            self._turns.over(turn, service())
            self._waker.wake()

    def hold(self, lane: str) -> None:
        """As many of its member's jobs run as may, here or elsewhere."""
        self._turns.hold(lane)
        asyncio.get_running_loop().call_later(HOLD_S, self._release)

    async def run(self) -> None:
        """Until cancelled. What the broker does not take is told with the next."""
        while True:
            await self._until_news(BUSY_S if self._running else IDLE_S)
            for turn, service in self._running.items():
                self._turns.grown(turn, service())
            await self._exchange()
            await asyncio.sleep(GAP_S)

    async def _until_news(self, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def _exchange(self) -> None:
        unshared = self._turns.take_unshared()
        try:
            self._turns.learn(await self._service.exchange(self._queue, unshared))
        except BROKER_ERRORS as error:
            self._turns.put_back_unshared(unshared)
            log.warning("service not shared", extra={"action": "service.unshared", "reason": type(error).__name__})

    def _release(self) -> None:
        self._turns.release_held()
        self._waker.wake()


class Waker:
    """Celery waits for messages of the lanes that were ready when it asked. When one more becomes ready, its pending
    request is ended, and it asks again: else the freed place would stand idle until the request's own time is over."""

    def __init__(self, redis: Redis, client_name: str, turns: Turns) -> None:
        """`client_name`: of Celery's connections."""
        self._redis = redis
        self._client_name = client_name
        self._turns = turns
        self._client_id: int | None = None
        self._waking: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Celery asks again soon, if there is anything new to ask for."""
        if self._turns.outdated and (self._waking is None or self._waking.done()):
            self._waking = asyncio.create_task(self._wake())

    async def _wake(self) -> None:
        """Tried until Celery has asked: it may have been just about to send what it asked for before."""
        for _ in range(WAKE_TRIES):
            if not self._turns.outdated:
                return
            try:
                await self._unblock()
            except BROKER_ERRORS:
                return  # its request has ended with its connection
            await asyncio.sleep(WAKE_S)

    async def _unblock(self) -> None:
        if self._client_id is None or not await self._redis.client_unblock(self._client_id):
            self._client_id = await self._find()

    async def _find(self) -> int | None:
        """The connection on which Celery's request is pending now."""
        clients = await self._redis.client_list()
        mine = [client for client in clients if client["name"] == self._client_name and "b" in client["flags"]]
        return int(mine[0]["id"]) if mine else None
