"""What people see: two consoles, the lines of processes that start, and the command as they can type it."""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from familyai.cli.supervisor import Phase, ProcessState

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

COMMAND = "familyai"
HEARTBEAT_S = 15.0
WHEN_STOPPING = frozenset({Phase.WAITING, Phase.HEALTHY})
_MARKS = {
    Phase.HEALTHY: ("✓", "green"),
    Phase.FAILED: ("✗", "red"),
    Phase.RESTARTING: ("↻", "yellow"),
    Phase.WAITING: ("·", "dim"),
    Phase.STOPPED: ("·", "dim"),
}


_UNPRINTABLE = dict.fromkeys((*range(32), *range(127, 160))) | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class Progress:
    """A line per process: what it is doing, and for how long. On a terminal in place, else a line per change.

    Changes to an `untold` phase make no line.
    """

    def __init__(self, untold: frozenset[Phase] = frozenset({Phase.WAITING})) -> None:
        self._untold = untold
        self._live = Live(console=out, auto_refresh=False) if out.is_terminal else None
        self._spinner = Spinner("dots")
        self._told: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def update(self, states: Sequence[ProcessState]) -> None:
        """Meant to be called several times a second."""
        if self._live:
            self._live.update(self._table(states), refresh=True)
            return
        for state in states:
            self._tell(state)

    def _table(self, states: Sequence[ProcessState]) -> Table:
        table = Table.grid(padding=(0, 2))
        for state in states:
            mark, style = _MARKS.get(state.phase, ("", ""))
            table.add_row(Text(mark, style) if mark else self._spinner, state.name, _words(state), _elapsed(state))
        return table

    def _tell(self, state: ProcessState) -> None:
        told, at_s = self._told.get(state.name, ("", 0.0))
        now_s, words = time.monotonic(), f"{state.phase} {state.words}"
        due = state.phase is Phase.STARTING and now_s - at_s >= HEARTBEAT_S
        if state.phase not in self._untold and (words != told or due):
            self._told[state.name] = (words, now_s)
            out.print(f"{state.name}: {_words(state)} {_elapsed(state)}".rstrip(), markup=False)


def _words(state: ProcessState) -> str:
    return "healthy" if state.phase is Phase.HEALTHY else state.words or str(state.phase)


def _elapsed(state: ProcessState) -> str:
    elapsed_s = time.time() - state.since_s if state.phase in (Phase.STARTING, Phase.STOPPING) else 0.0
    return duration(elapsed_s) if elapsed_s >= 1 else ""


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    rest = max(0, int(seconds))
    for unit, size, smaller, smaller_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if rest >= size:
            return f"{rest // size} {unit} {rest % size // smaller_size} {smaller}"
    return f"{rest} s"


def printable(name: str) -> str:
    """A name as any terminal takes it: without what steers one, and � for what is no text on this system."""
    return name.translate(_UNPRINTABLE)


def table(*headers: str) -> Table:
    """A plain table in the command line's one style."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        made.add_column(header, overflow="fold")
    return made


def thinking() -> AbstractContextManager[object]:
    """A spinner beside the answer, never in it: on stderr, and only where that is a terminal."""
    return err.status("thinking…") if err.is_terminal else nullcontext()


def own_command() -> str:
    """As the person can type it here: `familyai` where it is on the path, else where it lies."""
    typed = Path(sys.argv[0])
    own = typed if typed.name == COMMAND and typed.is_file() else Path(sys.prefix, "bin", COMMAND)
    on_path = shutil.which(COMMAND)
    if not own.is_file() or (on_path and own.samefile(on_path)):
        return COMMAND
    path = min(os.path.relpath(own), str(own.absolute()), key=len)
    return shlex.quote(path if os.sep in path else f"./{path}")


def warn(words: str) -> None:
    err.print(Text.assemble(("warning:", "yellow"), f" {printable(words)}"), soft_wrap=True)
