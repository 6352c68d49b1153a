"""`supervisor.json`: what a running supervisor tells `familyai status` and `down`, and what is still alive of it."""

import os
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache

import msgspec
import psutil

from familyai.cli.home import Home, write_private
from familyai.cli.supervisor import ProcessState

SAME_START_S = 2.0
"""Two readings of one process's start may differ by this much when the clock was set in between."""


class StackPhase(StrEnum):
    STARTING = "starting"
    HEALTHY = "healthy"
    STOPPING = "stopping"
    FAILED = "failed"


class StackState(msgspec.Struct, frozen=True, kw_only=True):
    """One supervisor and its processes. `environment`: the settings it runs with; `log`: what to read on failure."""

    pid: int
    created_at_s: float
    phase: StackPhase
    environment: dict[str, str]
    processes: list[ProcessState]
    words: str = ""
    log: str = ""


def save(home: Home, state: StackState) -> None:
    write_private(home.state, msgspec.json.encode(state).decode())


def load(home: Home) -> StackState | None:
    """None where nothing was ever started, the last supervisor stopped cleanly, or the file is not readable."""
    try:
        return msgspec.json.decode(home.state.read_bytes(), type=StackState)
    except (OSError, msgspec.MsgspecError):
        return None


@lru_cache(maxsize=1)
def own_identity() -> tuple[int, float]:
    """This process's pid and start."""
    return os.getpid(), psutil.Process().create_time()


def is_alive(pid: int, created_at_s: float) -> bool:
    """Whether this very process lives, and not another that was given its pid."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and _same(process, created_at_s)
    except psutil.Error:
        return False


def survivors(state: StackState) -> list[psutil.Process]:
    """What still lives of the stack: every process in a session that one of its children leads or led."""
    sessions = {process.pid for process in state.processes if process.pid and not _taken_by_another(process)}
    return [
        process for process in psutil.process_iter() if _session(process.pid) in sessions and not _is_zombie(process)
    ]


def _taken_by_another(process: ProcessState) -> bool:
    """A pid can be given away only when no process of its session is left."""
    try:
        return not _same(psutil.Process(process.pid), process.created_at_s)
    except psutil.Error:
        return False


def _same(process: psutil.Process, created_at_s: float) -> bool:
    return abs(process.create_time() - created_at_s) < SAME_START_S


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True
