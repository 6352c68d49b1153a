"""One run: the load begins, things are killed, the load stops, all has time to end, and what is left is looked at."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import httpx

from .aftermath import leaks, listed, reservations, unended, watch_memory
from .clients import Client
from .doors import new_http
from .household import MEMBERS, Household, NotBack, household
from .plan import Kind, kills
from .questions import Curiosity
from .tally import Tally
from .verdicts import Fault

WARM_UP_S = 3.0
LEAK_LIMIT_S = 90.0
"""Workers clear what their dead siblings left in kombu's books twice a minute."""
NEAR_S = 1.0
"""So long before a gap the kill may be that began it: what was on its way still came."""


@dataclass(frozen=True)
class Options:
    """`settle_s`: how long everybody may take to have their last answer. `keep`: where the home stays, logs and all."""

    seed: int
    kills: int = 100
    streams: int = 64
    gap_s: float = 6.0
    real: bool = False
    detach: bool = True
    settle_s: float = 180.0
    keep: Path | None = None


@dataclass(frozen=True)
class Killed:
    """`at_s`: on this machine's clock."""

    at_s: float
    kind: Kind
    name: str
    pid: int


@dataclass
class Outcome:
    """`leaks` by key, `reservations` and `unended` by job. `broken`: why the run could not go on. `memory_bytes`: the
    broker's, once a second and at the end. `seconds`: until everybody had their last answer."""

    options: Options
    tally: Tally
    killed: list[Killed] = field(default_factory=list)
    leaks: dict[str, str] = field(default_factory=dict)
    unended: dict[str, str] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    reservations: dict[str, str] = field(default_factory=dict)
    memory_bytes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    broken: str = ""

    @property
    def is_good(self) -> bool:
        """Nothing lost, nobody cut off unsaid, nothing left behind, and everybody was answered at all."""
        wrong = [self.broken, self.leaks, self.unended, self.listed, any(self.tally.faults[one] for one in Fault)]
        return not any(wrong) and bool(self.tally.good)

    def kill_near(self, from_s: float, to_s: float) -> Killed | None:
        """The first that fell into this time, or just before it."""
        return next((one for one in self.killed if from_s - NEAR_S <= one.at_s <= to_s), None)


async def run(options: Options, tell: Callable[[str], None]) -> Outcome:
    """`tell` hears a line per kill. Raises StartFailed, and what clients did not expect."""
    async with household(options.seed, options.real, options.keep) as stack, new_http() as http:
        outcome = Outcome(options, Tally(time.monotonic()))
        tell(f"everything runs; {options.streams} clients begin")
        async with _crowd(stack, http, outcome) as (clients, stopping):
            try:
                await _kill(stack, outcome, clients, tell)
                await stack.all_healthy()
            except NotBack as error:
                outcome.broken = str(error)
            tell("no more kills; everybody gets their last answer")
            stopping.set()
            await asyncio.wait(clients, timeout=options.settle_s)
        outcome.seconds = time.monotonic() - outcome.tally.begun_s
        if not outcome.broken:
            tell("everybody has gone; what is left?")
            await _look_back(stack, http, outcome)
        return outcome


@asynccontextmanager
async def _crowd(
    stack: Household, http: httpx.AsyncClient, outcome: Outcome
) -> AsyncIterator[tuple[list[asyncio.Task[None]], asyncio.Event]]:
    """The clients, and what tells them to stop. Whoever still waits at the end of the block has lost what he waits for.

    Raises what a client raised.
    """
    stopping, options = asyncio.Event(), outcome.options
    clients = []
    for number, member in zip(range(options.streams), cycle(MEMBERS), strict=False):
        dice = random.Random(f"{options.seed} doors {number}")  # noqa: S311 (chance that can be repeated)
        doors = stack.doors(http, stack.api_keys[member], dice)
        curiosity = Curiosity(options.seed, number, stack.queues, options.detach)
        clients.append(asyncio.create_task(Client(curiosity, doors, outcome.tally, stopping).run()))
    measuring = asyncio.create_task(watch_memory(stack.redis, outcome.memory_bytes))
    try:
        yield clients, stopping
    finally:
        for task in (*clients, measuring):
            task.cancel()
        ends = await asyncio.gather(*clients, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _kill(
    stack: Household, outcome: Outcome, clients: list[asyncio.Task[None]], tell: Callable[[str], None]
) -> None:
    """Raises NotBack. Ends early when a client did, which none may."""
    options = outcome.options
    await asyncio.sleep(WARM_UP_S)
    for number, kill in enumerate(kills(options.seed, options.kills, options.gap_s, stack.targets()), start=1):
        await asyncio.sleep(kill.pause_s)
        if any(client.done() for client in clients):
            return
        state = await stack.kill(kill.targets)
        killed = Killed(time.monotonic(), kill.kind, state.name, state.pid or 0)
        outcome.killed.append(killed)
        so_far = f"{outcome.tally.requests.total()} requests ended, {outcome.tally.faults.total()} faults"
        at_s = killed.at_s - outcome.tally.begun_s
        tell(f"{at_s:7.1f} s  kill {number:3}: {killed.name}, pid {killed.pid} ({so_far})")


async def _look_back(stack: Household, http: httpx.AsyncClient, outcome: Outcome) -> None:
    doors = stack.doors(http, stack.admin_key, random.Random(outcome.options.seed))  # noqa: S311 (no secret)
    outcome.leaks = await leaks(stack.redis, stack.profile, LEAK_LIMIT_S)
    outcome.reservations = await reservations(stack.redis, MEMBERS)
    outcome.unended = await unended(doors, outcome.tally.jobs)
    outcome.listed = await listed(doors)
    outcome.memory_bytes.append(int((await stack.redis.info("memory"))["used_memory"]))
