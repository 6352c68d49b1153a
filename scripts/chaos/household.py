"""The stack that is disturbed, under the product's own supervisor: started, killed at, and ended, whatever happens."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from familyai.allowance import Role
from familyai.broker import connect
from familyai.cli.home import Home
from familyai.cli.probes import HttpProbe
from familyai.cli.supervisor import Backoff, Phase, ProcessState, Supervisor
from familyai.errors import FamilyAIError
from familyai.members import MemberStore

from .doors import Doors
from .layout import ECHO_QUEUES, Layout, layout
from .plan import Kind
from .questions import ECHOED, Sort

MEMBERS = ("ada", "ben", "cem", "dora")
HEALTHY_AGAIN_S = 600.0
"""So long a process may take to come back before the run is given up."""
PROBE_S = 0.1


class NotBack(FamilyAIError):
    """A process that was killed did not come back; the message says which, and how it is."""


@dataclass(frozen=True)
class SeededPause(Backoff):
    """How long something stays away: a moment that the seed decides, longer each time it dies again at once."""

    dice: random.Random = field(default_factory=random.Random)
    longest_s: float = 4.0
    forgiven_after_s: float = 10.0

    def next_s(self, last_s: float | None, healthy_s: float) -> float:
        return super().next_s(last_s, healthy_s) * self.dice.uniform(0.3, 1.0)


class Household:
    """A stack that runs. `api_keys` are its members'; `redis` may do everything."""

    def __init__(self, made: Layout, pause: Backoff) -> None:
        self.profile, self.front_urls = made.profile, made.front_urls
        self.redis = connect(made.broker_url)
        self.api_keys: dict[str, str] = {}
        self.admin_key = ""
        self._supervisor = Supervisor(made.specs, pause)

    async def start(self) -> None:
        """Returns when every front is ready to have every question answered. Raises StartFailed."""
        await self._supervisor.start()
        members = MemberStore(self.redis, self.profile)
        self.api_keys = {name: (await members.add(name, Role.ADULT))[1] for name in MEMBERS}
        self.admin_key = (await members.add("admin", Role.ADMIN))[1]
        for url in self.front_urls:
            ready = HttpProbe(f"{url}/health/ready")
            while not (await ready()).healthy:  # noqa: ASYNC110 (another process's health sets no event)
                await asyncio.sleep(PROBE_S)

    async def stop(self) -> None:
        """At once: nobody waits for an answer any more."""
        hurry = asyncio.Event()
        hurry.set()
        try:
            await self.redis.aclose()
        finally:
            await self._supervisor.stop(hurry)

    @property
    def queues(self) -> dict[Sort, list[str]]:
        """Where each sort of request can go."""
        echo = {sort: list(ECHO_QUEUES) for sort in (*ECHOED, Sort.BATCH)}
        if "tts" not in self.profile.models:
            return echo
        real = {sort: ["chat-reasoning"] for sort in (Sort.REAL_CHAT, Sort.REAL_RESPONSES)}
        return {**echo, **real, Sort.SPEECH: ["tts"], Sort.TRANSCRIPTION: ["asr"]}

    def doors(self, http: httpx.AsyncClient, api_key: str, dice: random.Random) -> Doors:
        return Doors(http, self.front_urls, api_key, dice)

    def targets(self) -> dict[Kind, list[str]]:
        names = [state.name for state in self._supervisor.states()]
        return {kind: [name for name in names if name.partition(" ")[0] == kind] for kind in Kind}

    async def kill(self, names: Sequence[str]) -> ProcessState:
        """SIGKILL for the first that is healthy, as soon as one is; its supervisor starts it again.

        Returns what it was. Raises NotBack.
        """
        state = await self._healthy(names)
        assert state.pid is not None, "healthy processes run"
        os.kill(state.pid, signal.SIGKILL)
        return state

    async def all_healthy(self) -> None:
        """Raises NotBack."""
        for state in self._supervisor.states():
            await self._healthy([state.name])

    async def _healthy(self, names: Sequence[str]) -> ProcessState:
        """The first of them that is."""
        deadline_s = time.monotonic() + HEALTHY_AGAIN_S
        while True:
            states = {state.name: state for state in self._supervisor.states()}
            for name in names:
                if states[name].phase is Phase.HEALTHY:
                    return states[name]
            if time.monotonic() > deadline_s:
                words = ", ".join(f"{name} is {states[name].phase}: {states[name].words}" for name in names)
                raise NotBack(f"not back after {HEALTHY_AGAIN_S:g} s: {words}")
            await asyncio.sleep(PROBE_S)


@asynccontextmanager
async def household(seed: int, real: bool, keep: Path | None = None) -> AsyncIterator[Household]:
    """In a temporary home, or in `keep`, an empty folder that stays, logs and all.

    Raises StartFailed, ConfigurationError, CannotStart.
    """
    with TemporaryDirectory(prefix="familyai-chaos-") as temporary:
        dice = random.Random(f"{seed} pauses")  # noqa: S311 (chance that can be repeated)
        made = Household(layout(Home(keep or Path(temporary)), real), SeededPause(dice=dice))
        try:
            await made.start()
            yield made
        finally:
            await made.stop()
