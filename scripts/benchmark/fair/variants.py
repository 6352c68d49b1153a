"""The orders that are compared, each as a whole stack: front, worker, and a database of one broker."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from redis.asyncio import Redis

from familyai.allowance import Role
from familyai.broker import connect
from familyai.catalogue import Profile, load_catalogue, load_profile
from familyai.cli.probes import HttpProbe
from familyai.members import MemberStore

from ..questions import MODEL
from ..setup import PYTHON, QUEUE, Processes, free_port, loopback_url, start_broker
from . import round_robin_worker

PROFILE = "bench"
PLACES = 5
LANES = 32
NO_LIMIT = 10_000
LOAD_LIMIT_S = 300.0
MEMBERS = ("quiet", "ada", "ben", "cem", "dora", "eva")
HEAVY = "heavy"
"""A member of twice the weight."""
ECHO = {"model": MODEL, "engine": "echo", "memory_gb": 0.1, "answer_tokens": 64}


@dataclass(frozen=True)
class Variant:
    """One way to decide who is next, with as many places as the others unless its name says otherwise."""

    name: str
    slots: int
    reserve_slots: int = 0
    lanes: int = LANES
    takes_turns: bool = False

    @property
    def places(self) -> int:
        """Jobs that run at once."""
        return self.slots + self.reserve_slots


FIFO = Variant("FIFO", PLACES, lanes=1)
ROUND_ROBIN = Variant("round robin", PLACES, takes_turns=True)
OURS = Variant("least service", PLACES - 1, reserve_slots=1)
FIFO_WITHOUT_RESERVE = Variant("FIFO without reserve", PLACES - 1, lanes=1)
COMPARED = (FIFO, ROUND_ROBIN, OURS)


@dataclass
class Stack:
    """A running variant: where to ask, as whom, and what its processes are."""

    variant: Variant
    port: int
    api_keys: dict[str, str] = field(repr=False)
    pids: list[int]
    redis: Redis
    profile: Profile
    env: dict[str, str] = field(repr=False)
    home: Path
    known: bool = True
    """Whether the answers are known beforehand."""

    @asynccontextmanager
    async def another_worker(self) -> AsyncIterator[None]:
        async with Processes(self.home) as processes:
            pid = await _start_worker(processes, self.variant, self.env, "another worker")
            self.pids.append(pid)
            yield
            self.pids.remove(pid)


@asynccontextmanager
async def stacks(
    variants: Sequence[Variant], model: dict[str, Any] = ECHO, models: Path | None = None
) -> AsyncIterator[list[Stack]]:
    """All of them at once; only one is asked at a time. `models`: where converted ones lie. Raises CannotStart."""
    with TemporaryDirectory(prefix="familyai-bench-") as folder:
        async with Processes(Path(folder)) as processes, AsyncExitStack() as opened:
            broker = await start_broker(processes, Path(folder))
            started = []
            for number, variant in enumerate(variants):
                url = f"{broker.url.removesuffix('/0')}/{number}"
                redis = connect(url)
                opened.push_async_callback(redis.aclose)
                home = _make_home(Path(folder) / str(number), models)
                stack = await _start(processes, home, variant, model, url, redis)
                stack.pids.append(broker.pid)
                started.append(stack)
            yield started


def embedded_model() -> tuple[dict[str, Any], Path]:
    """The embedded profile's language model as the catalogue has it, and where converted models lie."""
    root = Path(__file__).parents[3]
    model = load_catalogue(root / "queues.yaml").profiles["embedded"].model(QUEUE)
    return model.model_dump(mode="json", exclude_defaults=True), root / ".familyai" / "models"


async def _start(
    processes: Processes, home: Path, variant: Variant, model: dict[str, Any], broker_url: str, redis: Redis
) -> Stack:
    catalogue, port = _write_catalogue(home, variant, model), free_port()
    profile = load_profile(catalogue, PROFILE)
    env = {
        "FAMILYAI_HOME": str(home),
        "FAMILYAI_CATALOGUE": str(catalogue),
        "FAMILYAI_PROFILE": PROFILE,
        "FAMILYAI_BROKER_URL": broker_url,
        "FAMILYAI_PORT": str(port),
    }
    api_keys = await _add_members(MemberStore(redis, profile))
    worker = await _start_worker(processes, variant, env, f"worker {variant.name}")
    health = HttpProbe(loopback_url(port, "/health/ready"))
    front = await processes.start(f"front {variant.name}", (*PYTHON, "api"), health, env)
    known = model is ECHO
    return Stack(variant, port, api_keys, [worker, front], redis, profile, env, home, known)


async def _start_worker(processes: Processes, variant: Variant, env: dict[str, str], name: str) -> int:
    port = free_port()
    module = round_robin_worker.__file__ if variant.takes_turns else None
    program = (*PYTHON[:-1], module) if module else (*PYTHON, "workers")
    health = HttpProbe(loopback_url(port, "/health"))
    return await processes.start(name, (*program, QUEUE, "--port", str(port)), health, env, LOAD_LIMIT_S)


async def _add_members(members: MemberStore) -> dict[str, str]:
    """Of the heavy one's role there is nobody else."""
    roles = {**dict.fromkeys(MEMBERS, Role.ADULT), HEAVY: Role.ADMIN}
    return {name: (await members.add(name, role))[1] for name, role in roles.items()}


def _make_home(home: Path, models: Path | None) -> Path:
    home.mkdir()
    if models and models.is_dir():
        (home / "models").symlink_to(models)
    return home


def _write_catalogue(home: Path, variant: Variant, model: dict[str, Any]) -> Path:
    catalogue = home / "queues.yaml"
    catalogue.write_bytes(_catalogue(variant, model))
    return catalogue


def _catalogue(variant: Variant, model: dict[str, Any]) -> bytes:
    """JSON is YAML too. Nobody is refused: what is measured is the order."""
    nobody_refused = {"waiting": NO_LIMIT}
    profile = {
        "memory_budget_gb": model["memory_gb"] + 1,
        "limits": {"waiting": NO_LIMIT},
        "fairness": {"lanes": variant.lanes},
        "roles": {"admin": {"weight": 2, **nobody_refused}, "adult": nobody_refused},
        "queues": {QUEUE: {**model, "slots": variant.slots, "reserve_slots": variant.reserve_slots}},
        "aliases": {"auto": QUEUE},
    }
    return orjson.dumps({"profiles": {PROFILE: profile}})
