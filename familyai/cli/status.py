"""`familyai status`: what runs, how it is, what waits, and where everything is found."""

import asyncio
import math
import os
import time

import msgspec
import orjson
from rich.markup import escape

from familyai.catalogue import Profile, load_profile
from familyai.cli import console, session, stack, state
from familyai.cli.console import out, own_command
from familyai.cli.home import Home
from familyai.cli.plan import has_engine
from familyai.cli.probes import Health
from familyai.cli.supervisor import ProcessState
from familyai.line import Line, Place, forecast
from familyai.registry import WorkerRegistry
from familyai.service import ServiceStore
from familyai.settings import Settings

NOT_HEALTHY = "not healthy"


class ProcessStatus(msgspec.Struct, frozen=True):
    name: str
    pid: int | None
    uptime_s: float
    restarts: int
    healthy: bool
    health: str


class QueueStatus(msgspec.Struct, frozen=True):
    """`wait_s`: until the last in line starts; None: nobody can tell."""

    queue: str
    model: str
    workers: int
    running: int
    waiting: int
    wait_s: float | None


class Status(msgspec.Struct, frozen=True):
    """`phase` is the supervisor's, but `not healthy` where a row is not; `queues` is None without a broker."""

    healthy: bool
    phase: str
    profile: str
    processes: list[ProcessStatus]
    queues: list[QueueStatus] | None
    url: str
    flower_url: str


def show(as_json: bool) -> int:
    """Prints it; the exit code is 0 when everything is healthy."""
    settings = session.settings_of_stack()
    home = Home(settings.home)
    found = session.run(status_of(settings, home))
    if as_json:
        out.out(orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(found, home)
    return 0 if found.healthy else 1


async def status_of(settings: Settings, home: Home) -> Status:
    """Asks every process and the broker, all at once. Raises ConfigurationError."""
    profile = load_profile(settings.catalogue, settings.profile)
    built = stack.build(settings, profile, home, {}, "", stack.OwnBroker("-"), has_engine)
    running = state.load(home) if home.held() else None
    known = running.processes if running else []
    probes = {spec.name: spec.probe for spec in built.specs}
    healths = await asyncio.gather(*(probes[process.name]() for process in known))
    processes = [_process(process, health) for process, health in zip(known, healths, strict=True)]
    queues = await _queues(settings, profile) if running else None
    phase = phase_of(running.phase if running else None, all(p.healthy for p in processes) and queues is not None)
    return Status(
        healthy=phase == state.StackPhase.HEALTHY,
        phase=phase,
        profile=settings.profile,
        processes=processes,
        queues=queues,
        url=built.url,
        flower_url=built.flower_url,
    )


def phase_of(supervisor: state.StackPhase | None, all_well: bool) -> str:
    """The supervisor has seen everything healthy once; how it is now is what was found just now."""
    if supervisor is None:
        return "not running"
    return NOT_HEALTHY if supervisor is state.StackPhase.HEALTHY and not all_well else supervisor


def headline(found: Status) -> str:
    """The phase, and what the rows below it say of those that are not healthy."""
    if found.phase != NOT_HEALTHY:
        return found.phase
    wrong = [f"{process.name} ({process.health})" for process in found.processes if not process.healthy]
    return f"{NOT_HEALTHY}: {', '.join(wrong) or 'the broker does not answer'}"


def _process(process: ProcessState, health: Health) -> ProcessStatus:
    alive = process.pid is not None and state.is_alive(process.pid, process.created_at_s)
    return ProcessStatus(
        name=process.name,
        pid=process.pid if alive else None,
        uptime_s=round(time.time() - process.created_at_s, 1) if alive else 0.0,
        restarts=process.restarts,
        healthy=alive and health.healthy,
        health=health_words(process, health.words if alive else process.words or "not running"),
    )


def health_words(process: ProcessState, words: str) -> str:
    """With how often it ended, where that is why it is not healthy."""
    return f"{words} (ended {process.ends_in_a_row} times in a row)" if process.is_in_crash_loop else words


async def _queues(settings: Settings, profile: Profile) -> list[QueueStatus] | None:
    names = list(profile.models)
    try:
        async with session.broker(settings) as redis:
            alive = await WorkerRegistry(redis).alive(names)
            service = ServiceStore(redis)
            lines = [
                await service.line(name, profile.models[name], profile.fairness, len(alive[name])) for name in names
            ]
    except session.NotRunning:
        return None
    return [queue_status(name, profile.models[name].model, line) for name, line in zip(names, lines, strict=True)]


def queue_status(name: str, model: str, line: Line) -> QueueStatus:
    """Of a line as it stands now."""
    last = next(reversed(forecast(line, time.time()).values()), Place(0, 0.0))
    wait_s = None if last.eta_s is None else round(last.eta_s, 1)
    return QueueStatus(name, model, line.workers, len(line.running), len(line.waiting), wait_s)


def _print(found: Status, home: Home) -> None:
    if not found.processes:
        out.print(f"FamilyAI does not run from {home.root}. Start it with: {own_command()} up", soft_wrap=True)
        return
    out.print(f"profile [bold]{found.profile}[/], {escape(headline(found))}\n", soft_wrap=True)
    processes = console.table("process", "pid", "up for", "restarts", "health")
    for process in found.processes:
        mark = "[green]✓[/]" if process.healthy else "[red]✗[/]"
        up_for = console.duration(process.uptime_s) if process.pid else "-"
        processes.add_row(
            process.name, str(process.pid or "-"), up_for, str(process.restarts), f"{mark} {process.health}"
        )
    out.print(processes, "")
    _print_queues(found)
    env, password = os.path.relpath(home.env), os.path.relpath(home.root / "flower.password")
    out.print(f"API     {found.url}/v1, key in {env}", soft_wrap=True)
    out.print(f"Flower  {found.flower_url}, user familyai, password in {password}", soft_wrap=True)
    out.print(f"logs    {os.path.relpath(home.logs)}", soft_wrap=True)


def _print_queues(found: Status) -> None:
    if found.queues is None:
        out.print("[red]✗[/] the broker does not answer: queues are unknown\n")
        return
    queues = console.table("queue", "model", "workers", "running", "waiting", "wait")
    for queue in found.queues:
        wait = console.duration(math.ceil(queue.wait_s)) if queue.waiting and queue.wait_s is not None else "-"
        counts = (str(count) for count in (queue.workers, queue.running, queue.waiting))
        queues.add_row(queue.queue, queue.model, *counts, wait)
    out.print(queues, "")
