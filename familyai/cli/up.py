"""`familyai up`: checks, prepares, starts, proves that it answers, and stays or detaches."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from familyai import logs
from familyai.cli import console, stack, state, status
from familyai.cli.console import out, own_command, warn
from familyai.cli.down import end_leftovers
from familyai.cli.home import Home, start_log, tail
from familyai.cli.plan import CannotStart, Plan, check_ports, make_plan, memory_table
from familyai.cli.selfcheck import SelfCheckFailed, self_check
from familyai.cli.serve import Serving
from familyai.cli.supervisor import StartFailed, cancelled
from familyai.settings import Settings, settings_of_environment

POLL_S = 0.15


def up(profile: str | None, detach: bool) -> int:
    """The exit code. Raises FamilyAIError for whatever keeps it from starting."""
    settings = settings_of_environment(profile)
    home = Home(settings.home)
    if home.held():
        return _runs_already(settings, home)
    if ended := state.load(home):
        end_leftovers(ended)
    check_ports(settings, home)
    plan = make_plan(settings, home)
    _introduce(plan)
    _prepare_models(plan)
    return _detached(plan) if detach else _foreground(plan)


def _runs_already(settings: Settings, home: Home) -> int:
    """Shows what runs. Raises CannotStart where that is another profile than the one that was asked for."""
    running = state.load(home)
    profile = running.environment["FAMILYAI_PROFILE"] if running else settings.profile
    if "profile" in settings.model_fields_set and profile != settings.profile:
        raise CannotStart(f"FamilyAI runs already from {home.root} with profile {profile}; {own_command()} down first")
    out.print(f"FamilyAI runs already from {home.root}.\n", soft_wrap=True)
    status.show(as_json=False)
    return 0


def _introduce(plan: Plan) -> None:
    out.print(f"[bold]FamilyAI[/], profile [bold]{plan.settings.profile}[/] of {plan.settings.catalogue}\n")
    out.print(memory_table(plan.profile), "")
    for queue in plan.stack.left_out:
        engine = plan.profile.models[queue].engine
        warn(f"queue {queue} is left out: this version has no engine '{engine}'; requests for it get 503")
    if not stack.is_loopback(plan.settings.host):
        warn(
            f"the front listens on {plan.settings.host}: everyone who reaches this machine's port "
            f"{plan.settings.port} can try keys, and keys and conversations travel unencrypted. "
            "Put a reverse proxy with TLS in front of it, or leave FAMILYAI_HOST at 127.0.0.1."
        )


def _prepare_models(plan: Plan) -> None:
    """Converts what comes out of wheels, once. Raises CannotStart."""
    if not any(model.wheel_file for model in plan.profile.resident.values()):
        return
    env = stack.environment(plan.settings, plan.home, os.environ)
    command = [sys.executable, "-P", "-m", "workers.prepare", "--profile", plan.settings.profile]
    code = subprocess.run(command, env=env, check=False, umask=0o077).returncode  # noqa: S603 (our own module)
    if code:
        raise CannotStart(f"the models could not be prepared (exit code {code}); the lines above say why")


def _foreground(plan: Plan) -> int:
    logs.configure("supervisor", logging.WARNING)
    serving = Serving(plan)
    try:
        asyncio.run(_serve_visibly(plan, serving))
    except StartFailed as error:
        return _say_failed(str(error), error.log)
    out.print("FamilyAI has stopped.")
    return 0


async def _serve_visibly(plan: Plan, serving: Serving) -> None:
    starting = asyncio.create_task(_show(serving, console.Progress()))
    stopping = asyncio.create_task(_show_stop(serving))

    async def when_healthy() -> None:
        await cancelled(starting)
        await _prove(plan)
        out.print("\nCtrl-C stops everything.")

    try:
        await serving.serve(when_healthy)
    finally:
        await cancelled(starting)
        await cancelled(stopping)


async def _show(serving: Serving, progress: console.Progress) -> None:
    with progress:
        try:
            while True:
                progress.update(serving.supervisor.states())
                await asyncio.sleep(POLL_S)
        finally:
            progress.update(serving.supervisor.states())


async def _show_stop(serving: Serving) -> None:
    await serving.supervisor.stopping.wait()
    out.print("\nStopping; Ctrl-C once more kills what still runs.")
    await _show(serving, console.Progress(console.WHEN_STOPPING))


async def _prove(plan: Plan) -> int:
    """The self-check, then what to do next. A failed one stops nothing: what runs can be looked at."""
    try:
        await self_check(plan.stack.url, plan.home.api_key(), plan.profile)
    except SelfCheckFailed as error:
        console.err.print(f"[red]{error}[/]\nIt still runs: {own_command()} doctor looks closer.", soft_wrap=True)
        return 1
    _what_next(plan)
    return 0


def _what_next(plan: Plan) -> None:
    env, familyai = os.path.relpath(plan.home.env), own_command()
    out.print(
        f"""
[bold]Ready.[/] Try next:

  {familyai} chat "Tell me a story about a fox."
  {familyai} status
  {familyai} member add mum
  source {env} && curl -N $FAMILYAI_URL/v1/chat/completions -H "Authorization: Bearer $FAMILYAI_API_KEY" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "auto", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

  Any OpenAI client: base URL {plan.stack.url}/v1, the key in {env}
  Flower (the queue): {plan.stack.flower_url}, user familyai, password {plan.flower_password}
  What happens to a request: docs/architecture.md""",
        soft_wrap=True,
    )


def _detached(plan: Plan) -> int:
    daemon = _start_daemon(plan)
    try:
        failure = _follow(plan.home, daemon)
    except KeyboardInterrupt:
        out.print("stopping")
        daemon.terminate()
        daemon.wait()
        return 130
    if failure:
        return _say_failed(*failure)
    code = asyncio.run(_prove(plan))
    out.print(f"\nFamilyAI runs in the background; {own_command()} down stops it.")
    return code


def _start_daemon(plan: Plan) -> "subprocess.Popen[bytes]":
    log = plan.home.log("supervisor")
    start_log(log)
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "familyai.cli.serve"],
            env={**os.environ, **stack.public_environment(plan.settings, plan.home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _follow(home: Home, daemon: "subprocess.Popen[bytes]") -> tuple[str, Path] | None:
    """Shows the daemon's start to its end; what failed and where to read on, if anything did."""
    with console.Progress() as progress:
        while daemon.poll() is None:
            seen = state.load(home)
            if seen is not None and seen.pid == daemon.pid:
                progress.update(seen.processes)
                if seen.phase is state.StackPhase.HEALTHY:
                    return None
            time.sleep(POLL_S)
    seen = state.load(home)
    if seen is not None and seen.pid == daemon.pid and seen.words:
        return seen.words, Path(seen.log or home.log("supervisor"))
    return "the supervisor ended before everything was healthy", home.log("supervisor")


def _say_failed(words: str, log: Path) -> int:
    if lines := tail(log):
        console.err.print(f"\n[dim]last lines of {log}:[/]\n", soft_wrap=True)
        console.err.print(lines, markup=False, soft_wrap=True)
    console.err.print(f"\n[red]FamilyAI did not start:[/] {words}", soft_wrap=True)
    return 1
