"""The stack that is disturbed: the product's own processes under its own supervisor, with two fronts and more workers.

In a temporary home, on free ports, and ended with it, whatever happens.
"""

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import orjson
from pydantic import SecretStr
from redis.asyncio import Redis

from familyai.allowance import Role
from familyai.broker import connect
from familyai.broker_users import OWNER, url_of
from familyai.catalogue import Profile, load_catalogue, load_profile
from familyai.cli import stack
from familyai.cli.home import Home, write_private
from familyai.cli.plan import broker_binary, has_engine
from familyai.cli.probes import HttpProbe
from familyai.cli.supervisor import Backoff, Phase, ProcessSpec, ProcessState, Supervisor
from familyai.errors import FamilyAIError
from familyai.members import MemberStore
from familyai.settings import Settings

from .doors import Doors
from .plan import Kind
from .questions import ECHOED, Sort

ROOT = Path(__file__).parents[2]
PROFILE = "chaos"
MEMBERS = ("ada", "ben", "cem", "dora")
ECHO = {"model": "familyai/echo", "engine": "echo", "memory_gb": 0.1, "slots": 48, "answer_tokens": 100}
ECHO_QUEUES = ("chat-fast", "chat-lightweight")
REAL_QUEUES = {"chat-reasoning": "chat-fast", "asr": "asr", "tts": "tts"}
"""With the embedded profile's name of each."""
HEALTHY_AGAIN_S = 180.0
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
    """A running stack. `front_urls` and `api_keys` are what clients need; `redis` may do everything."""

    def __init__(
        self, supervisor: Supervisor, profile: Profile, redis: Redis, front_urls: Sequence[str], home: Path
    ) -> None:
        self.profile, self.redis, self.front_urls, self.home = profile, redis, front_urls, home
        self.api_keys: dict[str, str] = {}
        self.admin_key = ""
        self._supervisor = supervisor

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

    async def kill(self, name: str) -> int:
        """SIGKILL, once it is healthy; its supervisor starts it again. Returns its pid. Raises NotBack."""
        state = await self._healthy(name)
        assert state.pid is not None, "healthy processes run"
        os.kill(state.pid, signal.SIGKILL)
        return state.pid

    async def all_healthy(self) -> None:
        """Raises NotBack."""
        for state in self._supervisor.states():
            await self._healthy(state.name)

    async def _healthy(self, name: str) -> ProcessState:
        deadline_s = time.monotonic() + HEALTHY_AGAIN_S
        while (state := self._state(name)).phase is not Phase.HEALTHY:
            if time.monotonic() > deadline_s:
                raise NotBack(f"{name} is not back after {HEALTHY_AGAIN_S:g} s: {state.phase}, {state.words}")
            await asyncio.sleep(PROBE_S)
        return state

    def _state(self, name: str) -> ProcessState:
        return next(state for state in self._supervisor.states() if state.name == name)


@asynccontextmanager
async def household(seed: int, real: bool, keep: Path | None = None) -> AsyncIterator[Household]:
    """Raises StartFailed, ConfigurationError, CannotStart. `keep`: an empty folder that stays, logs and all."""
    with TemporaryDirectory(prefix="familyai-chaos-") as temporary:
        home = Home(keep or Path(temporary))
        home.make()
        settings, own_broker = _settings(home, _write_catalogue(home, real))
        profile = load_profile(settings.catalogue, PROFILE)
        specs = _specs(settings, profile, home, own_broker)
        dice = random.Random(f"{seed} pauses")  # noqa: S311 (chance that can be repeated)
        supervisor = Supervisor(specs, SeededPause(dice=dice))
        redis = connect(settings.broker_url.get_secret_value())
        urls = [f"http://127.0.0.1:{spec.env['FAMILYAI_PORT']}" for spec in specs if spec.stage == stack.FRONT]
        try:
            yield await _start(Household(supervisor, profile, redis, urls, home.root))
        finally:
            await _stop(supervisor, redis)


async def _start(made: Household) -> Household:
    await made._supervisor.start()
    members = MemberStore(made.redis, made.profile)
    made.api_keys = {name: (await members.add(name, Role.ADULT))[1] for name in MEMBERS}
    made.admin_key = (await members.add("admin", Role.ADMIN))[1]
    for url in made.front_urls:
        ready = HttpProbe(f"{url}/health/ready")
        while not (await ready()).healthy:  # noqa: ASYNC110 (another process's health sets no event)
            await asyncio.sleep(PROBE_S)
    return made


async def _stop(supervisor: Supervisor, redis: Redis) -> None:
    """At once: nobody waits for an answer any more."""
    hurry = asyncio.Event()
    hurry.set()
    try:
        await redis.aclose()
    finally:
        await supervisor.stop(hurry)


def _settings(home: Home, catalogue: Path) -> tuple[Settings, stack.OwnBroker]:
    ports = _free_ports_in_a_row(12)
    own_broker = stack.OwnBroker(broker_binary(), home.broker_passwords())
    broker_url = url_of(OWNER, own_broker.passwords[OWNER], f"127.0.0.1:{ports}")
    settings = Settings(
        home=home.root,
        profile=PROFILE,
        catalogue=catalogue,
        blob_url="",
        broker_url=SecretStr(broker_url),
        broker_port=ports,
        flower_port=ports + 1,
        port=ports + 2,
        worker_port=ports + 4,
    )
    return settings, own_broker


def _specs(settings: Settings, profile: Profile, home: Home, own_broker: stack.OwnBroker) -> list[ProcessSpec]:
    """The product's own, without Flower, and with a second front and a second worker of the first queue."""
    queues = profile.models
    write_private(home.broker_config, stack.broker_config(home, settings.broker_port, queues, own_broker.passwords))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FAMILYAI_")}
    built = stack.build(settings, profile, home, environ, "", own_broker, has_engine)
    broker, *workers, front, _ = built.specs
    more = _another_worker(workers[0], settings.worker_port + len(workers), home)
    fronts = [_front(front, number, settings.port + number, home) for number in range(2)]
    return [broker, *workers, more, *fronts]


def _another_worker(spec: ProcessSpec, port: int, home: Home) -> ProcessSpec:
    name = f"{spec.name} 2"
    probe = HttpProbe(f"http://127.0.0.1:{port}/health")
    return replace(spec, name=name, argv=(*spec.argv[:-1], str(port)), probe=probe, log=home.log(name))


def _front(spec: ProcessSpec, number: int, port: int, home: Home) -> ProcessSpec:
    """Healthy while it lives: it is not ready while something else is away."""
    name = f"{spec.name} {number + 1}"
    env = {**spec.env, "FAMILYAI_PORT": str(port)}
    return replace(spec, name=name, env=env, probe=HttpProbe(f"http://127.0.0.1:{port}/health"), log=home.log(name))


def _write_catalogue(home: Home, real: bool) -> Path:
    """JSON is YAML too. Nobody is refused for asking much."""
    queues: dict[str, Mapping[str, Any]] = dict.fromkeys(ECHO_QUEUES, ECHO)
    if real:
        embedded = load_catalogue(ROOT / "queues.yaml").profiles["embedded"]
        found = {queue: embedded.model(name) for queue, name in REAL_QUEUES.items()}
        queues |= {queue: model.model_dump(mode="json", exclude_defaults=True) for queue, model in found.items()}
        if (models := ROOT / ".familyai" / "models").is_dir() and not home.models.exists():
            home.models.symlink_to(models)  # converted by the set-up
    profile = {
        "memory_budget_gb": 8,
        "limits": {"waiting": 100_000},
        "roles": {"admin": {"waiting": 10_000}, "adult": {"waiting": 10_000}},
        "queues": queues,
    }
    path = home.root / "queues.yaml"
    path.write_bytes(orjson.dumps({"profiles": {PROFILE: profile}}))
    return path


def _free_ports_in_a_row(count: int) -> int:
    """The first of them."""
    while True:
        with ExitStack() as opened:
            try:
                first = _bound(opened, 0)
                for port in range(first + 1, first + count):
                    _bound(opened, port)
            except (OSError, OverflowError):
                continue
            return first


def _bound(opened: ExitStack, port: int) -> int:
    sock = opened.enter_context(socket.socket())
    sock.bind(("127.0.0.1", port))
    return int(sock.getsockname()[1])
