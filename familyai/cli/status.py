"""`familyai status`: what runs, how it is, what waits, and where everything is found."""

import asyncio
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
from familyai.jobs import JobStore
from familyai.registry import WorkerRegistry
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
    queue: str
    model: str
    workers: int
    waiting: int


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
    built = stack.build(settings, profile, home, {}, "", "-", has_engine)
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
        health=health.words if alive else process.words or "not running",
    )


async def _queues(settings: Settings, profile: Profile) -> list[QueueStatus] | None:
    names = list(profile.models)
    try:
        async with session.broker(settings) as redis:
            alive = await WorkerRegistry(redis).alive(names)
            jobs = JobStore(redis, profile.limits.record_ttl_s)
            waiting = [await jobs.waiting(name) for name in names]
    except session.NotRunning:
        return None
    return [
        QueueStatus(name, profile.models[name].model, len(alive[name]), count)
        for name, count in zip(names, waiting, strict=True)
    ]


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
    queues = console.table("queue", "model", "workers", "waiting")
    for queue in found.queues:
        queues.add_row(queue.queue, queue.model, str(queue.workers), str(queue.waiting))
    out.print(queues, "")
