"""`familyai down`: the supervisor is asked to stop everything, and what a killed one left behind is ended too."""

import os
import signal
import time
from contextlib import suppress

import psutil

from familyai.cli import console, state
from familyai.cli.console import out
from familyai.cli.home import Home
from familyai.errors import FamilyAIError
from familyai.settings import load_settings

POLL_S = 0.1
KILL_TIMEOUT_S = 10.0


class StillRunning(FamilyAIError):
    """Something could not be ended; the message names its pids."""


def down() -> int:
    """Blocks until nothing of the stack is left, however long workers drain. Raises StillRunning."""
    home = Home(load_settings().home)
    running = state.load(home)
    if running is None or not home.root.exists():
        out.print("FamilyAI does not run.")
        return 0
    was_alive = _stop_supervisor(home, running)
    left = end_leftovers(running)
    home.state.unlink(missing_ok=True)
    _say(was_alive, left)
    return 0


def end_leftovers(ended: state.StackState) -> int:
    """How many processes a supervisor that is gone had left behind, all of them killed. Raises StillRunning."""
    left = state.survivors(ended)
    _kill(left)
    return len(left)


def _stop_supervisor(home: Home, running: state.StackState) -> bool:
    """Whether there was one to stop. Raises KeyboardInterrupt when the person who waits has had enough."""
    if not state.is_alive(running.pid, running.created_at_s):
        return False
    with suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    with console.Progress(console.WHEN_STOPPING) as progress:
        while state.is_alive(running.pid, running.created_at_s):
            if seen := state.load(home):
                progress.update(seen.processes)
            time.sleep(POLL_S)
    return True


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    _, alive = psutil.wait_procs(processes, timeout=KILL_TIMEOUT_S)
    if alive:
        raise StillRunning("could not end: " + ", ".join(f"pid {process.pid}" for process in alive))


def _say(was_alive: bool, left: int) -> None:
    if left:
        out.print(f"Ended {left} processes that a killed supervisor had left.")
    out.print("FamilyAI has stopped." if was_alive or left else "FamilyAI does not run.")
