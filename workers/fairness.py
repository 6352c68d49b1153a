"""The fair order in motion: running jobs are charged as they grow, other workers of the model told, Celery woken."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from redis.asyncio import Redis

from familyai.broker import BROKER_ERRORS
from familyai.service import ServiceStore
from workers.turns import Turn, Turns

log = logging.getLogger(__name__)

BUSY_S = 0.05
IDLE_S = 1.0
GAP_S = 0.005
"""Between two exchanges, however much there is to tell."""
HOLD_S, HOLD_SHARED_S = 0.1, 0.02
"""So long a lane is left alone whose member may not have more running; a shorter time where others share it. Then it is
asked again, by claiming."""
TOO_WIDE_S = 0.5
"""After so long the place kept for a wide job is given up, and found to be needed once more if it is."""
WAKE_S = 0.002
WAKE_TRIES = 100


class Fairness:
    """Several workers of one model are as fair as one: what each has charged is exchanged all the time.

    Runs on the engine's loop, as do all who call it.
    """

    def __init__(self, queue: str, worker: str, turns: Turns, service: ServiceStore, waker: "Waker") -> None:
        self._queue = queue
        self._teller = worker
        self._turns = turns
        self._service = service
        self._waker = waker
        self._running: dict[Turn, Callable[[], float]] = {}
        self._news = asyncio.Event()
        self._numbers = count(1)
        self._untold: tuple[int, dict[str, float]] | None = None

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

    def hold(self, turn: Turn, *, is_shared: bool) -> None:
        """As many of its member's jobs run as may, here or elsewhere."""
        for_s = HOLD_SHARED_S if is_shared else HOLD_S
        self._turns.hold(turn, for_s)
        asyncio.get_running_loop().call_later(for_s, self._release)

    def too_wide(self, turn: Turn) -> None:
        """It goes back and waits for room; should it be cancelled there, or another worker begin it, nobody says so."""
        asyncio.get_running_loop().call_later(TOO_WIDE_S, self._forget_width, turn.lane)

    async def run(self) -> None:
        """Until cancelled. What the broker does not take is told with the next."""
        await self._exchange()  # a worker that starts knows what others had before it takes its first job
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
        """What could not be told, or may not have been heard, is told again under the same number: it counts once."""
        number, charged = self._untold or (next(self._numbers), self._turns.take_unshared())
        self._untold = number, charged
        try:
            counters = await self._service.exchange(self._queue, charged, teller=self._teller, number=number)
        except BROKER_ERRORS as error:
            log.warning("service not shared", extra={"action": "service.unshared", "reason": type(error).__name__})
            return
        self._untold = None
        self._turns.learn(counters)

    def _release(self) -> None:
        self._turns.release_held()
        self._waker.wake()

    def _forget_width(self, lane: str) -> None:
        self._turns.forget_width(lane)
        self._waker.wake()


class Waker:
    """Celery waits for messages of the lanes that were ready when it asked. When one more becomes ready, its pending
    request is ended, and it asks again: else the freed place would stand idle until the request's own time is over."""

    def __init__(self, redis: Redis, client_name: str, turns: Turns) -> None:
        """`client_name`: of Celery's connections."""
        self._redis = redis
        self._client_name = client_name
        self._turns = turns
        self._client_id: str | None = None
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
        client_id = await self._find()
        if client_id is not None:
            await self._redis.client_unblock(int(client_id))

    async def _find(self) -> str | None:
        """The connection on which Celery's request is pending now: the one of last time, or looked for among all.

        A number alone would not do: a broker that was started again counts from 1 once more.
        """
        if self._client_id is not None and (found := self._pending(await self._list([self._client_id]))) is not None:
            return found
        self._client_id = self._pending(await self._list([]))
        return self._client_id

    async def _list(self, client_ids: list[str]) -> list[dict[str, str]]:
        return await self._redis.client_list(client_id=list[Any](client_ids))

    def _pending(self, clients: list[dict[str, str]]) -> str | None:
        mine = [client for client in clients if client["name"] == self._client_name and "b" in client["flags"]]
        return mine[0]["id"] if mine else None
