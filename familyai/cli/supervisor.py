"""Keeps processes alive: starts them stage by stage, restarts what dies, stops in reverse. Knows not what they do."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import psutil

from familyai.cli.child import Child, adopt_orphans, exit_words
from familyai.cli.probes import Probe
from familyai.errors import FamilyAIError

log = logging.getLogger(__name__)

PROBE_INTERVAL_S = 0.2
SAME_SIGNAL_S = 1.0
CRASH_LOOP = 3
"""Who ended so often in a row will hardly be mended by another start: then somebody has to read why."""


@dataclass(frozen=True)
class ProcessSpec:
    """What to run, how to tell that it is healthy, and how long it may take to start and to stop.

    Neighbours of one `stage` start together and stop together. `farewell` comes before it is asked to stop; it has
    as long as the process has to stop, and never raises.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    probe: Probe
    start_timeout_s: float
    stop_timeout_s: float
    stage: str
    farewell: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a restart: doubling, and forgiven after a long healthy time."""

    first_s: float = 0.5
    longest_s: float = 30.0
    forgiven_after_s: float = 60.0

    def next_s(self, last_s: float | None, healthy_s: float) -> float:
        if last_s is None or self.forgives(healthy_s):
            return self.first_s
        return min(last_s * 2, self.longest_s)

    def forgives(self, healthy_s: float) -> bool:
        return healthy_s >= self.forgiven_after_s


class Phase(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    HEALTHY = "healthy"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one process; `since_s` is when it came into this phase, `created_at_s` guards its pid.

    `ends_in_a_row`: how often it ended since it was last healthy for long.
    """

    name: str
    phase: Phase = Phase.WAITING
    words: str = ""
    since_s: float = 0.0
    pid: int | None = None
    created_at_s: float = 0.0
    restarts: int = 0
    ends_in_a_row: int = 0

    @property
    def is_in_crash_loop(self) -> bool:
        return self.phase is not Phase.HEALTHY and self.ends_in_a_row >= CRASH_LOOP


class StartFailed(FamilyAIError):
    """A process ended, or did not become healthy in time, at its first start."""

    def __init__(self, process: str, words: str, log: Path) -> None:
        super().__init__(f"{process} {words}")
        self.process, self.words, self.log = process, words, log


class Supervisor:
    """`on_change` hears each change of any process's state, and must be quick."""

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        backoff: Backoff = Backoff(),
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.stopping = asyncio.Event()
        self._keepers = [_Keeper(spec, backoff, on_change) for spec in specs]
        self._stages = [list(stage) for _, stage in groupby(self._keepers, lambda keeper: keeper.stage)]

    def states(self) -> list[ProcessState]:
        return [keeper.state for keeper in self._keepers]

    async def start(self) -> None:
        """Each stage after the one before is healthy. Raises StartFailed; what runs by then keeps running."""
        for stage in self._stages:
            await _all(keeper.start() for keeper in stage)

    async def stop(self, hurry: asyncio.Event) -> None:
        """The last started first, each given its time to end by itself unless `hurry` is set. Nothing is left after."""
        self.stopping.set()
        for stage in reversed(self._stages):
            await _all(keeper.stop(hurry) for keeper in stage)


async def run(supervisor: Supervisor, when_healthy: Callable[[], Awaitable[None]]) -> None:
    """Starts everything, calls `when_healthy`, and stays until SIGINT, SIGTERM or SIGHUP; a later SIGINT kills at once.

    Everything is stopped when it returns or raises. Raises StartFailed and what `when_healthy` raises.
    """
    adopt_orphans()
    asked = _Asked()
    with _signals(asked.hear):
        starting = asyncio.create_task(_start(supervisor, when_healthy))
        try:
            await first_of(starting, asked.to_stop.wait())
            if starting.done():
                starting.result()
            await asked.to_stop.wait()
        finally:
            await cancelled(starting)
            await supervisor.stop(asked.to_hurry)


async def first_of(*waits: Awaitable[object], timeout_s: float | None = None) -> None:
    """Returns when one is done or the time is up. The coroutines among them are cancelled then, tasks go on."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, wait in zip(tasks, waits, strict=True):
            if task is not wait:
                await cancelled(task)


async def _all(waits: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Until all are done, or one raises: the others are cancelled then."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            await cancelled(task)


async def cancelled(task: asyncio.Future[Any]) -> None:
    """Cancels the task, and returns when it has ended. What it raised is for whoever awaited it."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


class _Keeper:
    """One process over all its lives."""

    def __init__(self, spec: ProcessSpec, backoff: Backoff, on_change: Callable[[], None]) -> None:
        self.state, self.stage = ProcessState(name=spec.name), spec.stage
        self._spec, self._backoff, self._on_change = spec, backoff, on_change
        self._child: Child | None = None
        self._life: asyncio.Task[None] | None = None
        self._stopping, self._was_healthy = asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        self._life = asyncio.create_task(self._keep())
        await first_of(self._life, self._was_healthy.wait(), timeout_s=self._spec.start_timeout_s)
        if self._life.done():
            raise StartFailed(self._spec.name, self.state.words, self._spec.log)
        if not self._was_healthy.is_set():
            words = f"was not healthy after {self._spec.start_timeout_s:g} s ({self.state.words})"
            self._set(Phase.FAILED, words)
            raise StartFailed(self._spec.name, words, self._spec.log)

    async def stop(self, hurry: asyncio.Event) -> None:
        self._stopping.set()
        if self._life is None:
            return
        if self._child is not None:
            await self._ask_to_stop(self._child, self._life, hurry)
        if self._child is not None:
            log.warning("did not end in time", extra={"action": "process.killed", "child": self._spec.name})
            self._child.kill()
        await self._life
        if self.state.phase is not Phase.FAILED:
            self._set(Phase.STOPPED, "stopped", pid=None)

    async def _ask_to_stop(self, child: Child, life: asyncio.Task[None], hurry: asyncio.Event) -> None:
        self._set(Phase.STOPPING, f"finishes what it runs, up to {self._spec.stop_timeout_s:g} s")
        if self._spec.farewell is not None:
            await first_of(life, self._spec.farewell(), hurry.wait(), timeout_s=self._spec.stop_timeout_s)
        child.terminate()
        await first_of(life, hurry.wait(), timeout_s=self._spec.stop_timeout_s)

    async def _keep(self) -> None:
        """Until the process fails at its first start, or is told to stop."""
        delay_s: float | None = None
        while not self._stopping.is_set():
            words, healthy_s = await self._live()
            if self._stopping.is_set():
                return
            if not self._was_healthy.is_set():
                self._set(Phase.FAILED, words, pid=None)
                return
            delay_s = self._backoff.next_s(delay_s, healthy_s)
            in_a_row = 1 if self._backoff.forgives(healthy_s) else self.state.ends_in_a_row + 1
            self._announce_restart(words, delay_s, in_a_row)
            await first_of(self._stopping.wait(), timeout_s=delay_s)

    async def _live(self) -> tuple[str, float]:
        """One life: how it ended, and how long it was healthy. No process of its group is left after."""
        try:
            self._child = Child(self._spec.argv, self._spec.env, self._spec.log)
        except OSError as error:
            return f"cannot be started: {error.strerror}", 0.0
        pid = self._child.pid
        self._set(Phase.STARTING, "starting", pid=pid, created_at_s=_created_at_s(pid))
        probing = asyncio.create_task(self._probe())
        try:
            words = exit_words(await self._child.wait())
        finally:
            self._child = None
            await cancelled(probing)
        return words, time.time() - self.state.since_s if self.state.phase is Phase.HEALTHY else 0.0

    async def _probe(self) -> None:
        """Until it is healthy once; from then on its end is what counts."""
        while not (health := await self._spec.probe()).healthy:
            if health.words != self.state.words and self.state.phase is Phase.STARTING:
                self._set(Phase.STARTING, health.words, since_s=self.state.since_s)
            await asyncio.sleep(PROBE_INTERVAL_S)
        self._was_healthy.set()
        if self._stopping.is_set():
            return
        self._set(Phase.HEALTHY, health.words)
        self._announce_health()

    def _announce_health(self) -> None:
        """As loud as the restart that it makes good: whoever read of the one waits for the other."""
        again = self.state.restarts > 0
        log.log(
            logging.WARNING if again else logging.INFO,
            f"{self._spec.name} is healthy again" if again else "is healthy",
            extra={"action": "process.healthy", "child": self._spec.name, "pid": self.state.pid},
        )

    def _announce_restart(self, words: str, delay_s: float, in_a_row: int) -> None:
        restarts = self.state.restarts + 1
        self._set(Phase.RESTARTING, f"{words}; starts again", pid=None, restarts=restarts, ends_in_a_row=in_a_row)
        often = f" ({in_a_row} times in a row; {self._spec.log} tells why)" if self.state.is_in_crash_loop else ""
        log.warning(
            f"{self._spec.name} {words}{often}; it starts again in {delay_s:g} s",
            extra={
                "action": "process.restarts",
                "child": self._spec.name,
                "restarts": restarts,
                "log": self._spec.log,
            },
        )

    def _set(self, phase: Phase, words: str, **changes: object) -> None:
        fields = {"since_s": time.time(), **changes, "phase": phase, "words": words}
        self.state = msgspec.structs.replace(self.state, **fields)
        self._on_change()


async def _start(supervisor: Supervisor, when_healthy: Callable[[], Awaitable[None]]) -> None:
    await supervisor.start()
    await when_healthy()


class _Asked:
    """What signals ask for. `timeout` and some terminals send each one twice, so a hurry is a SIGINT of its own."""

    def __init__(self) -> None:
        self.to_stop, self.to_hurry = asyncio.Event(), asyncio.Event()
        self._since_s = 0.0

    def hear(self, number: signal.Signals) -> None:
        if not self.to_stop.is_set():
            self.to_stop.set()
            self._since_s = time.monotonic()
        elif number is signal.SIGINT and time.monotonic() - self._since_s > SAME_SIGNAL_S:
            self.to_hurry.set()


@contextmanager
def _signals(hear: Callable[[signal.Signals], None]) -> Iterator[None]:
    loop, wanted = asyncio.get_running_loop(), [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's wish
        wanted.append(signal.SIGHUP)
    for number in wanted:
        loop.add_signal_handler(number, hear, number)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


def _created_at_s(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0
