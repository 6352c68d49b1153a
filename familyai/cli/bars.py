"""How far recordings are: a bar for each under way, and one for all; off a terminal only a line per finished one."""

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from familyai.cli import console
from familyai.cli.console import duration, printable
from familyai.cli.follow import Job

_LONGEST = 40
_UNDER_WAY = ("preparing", "running")


class Bars:
    """On a terminal in place. Lines said meanwhile stand above."""

    def __init__(self) -> None:
        name = TextColumn("{task.description}", markup=False)
        note = TextColumn("{task.fields[note]}", markup=False, style="dim")
        percent = TextColumn("{task.percentage:>3.0f} %")
        self._progress = Progress(
            name, BarColumn(), percent, note, console=console.out, transient=True, disable=not console.out.is_terminal
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, words: str, style: str = "") -> None:
        """A line that stays."""
        console.out.print(Text(printable(words), style=style), soft_wrap=True)

    def complain(self, words: str) -> None:
        """The same, on stderr."""
        self._beside(words, "red")

    def warn(self, words: str) -> None:
        """What may pass, on stderr."""
        self._beside(f"warning: {words}", "yellow")

    def advise(self, words: str) -> None:
        """What to do next, on stderr."""
        self._beside(words, "")

    def _beside(self, words: str, style: str) -> None:
        both = console.out.is_terminal and console.err.is_terminal  # then only the bars' console writes above them
        place = console.out if both else console.err
        place.print(Text(printable(words), style=style), soft_wrap=True)

    def show(self, key: str, name: str, done: float, total: float | None, note: str = "") -> None:
        """The bar of this key; a moving one while nobody knows the total."""
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(short(name), total=total, note=note)
        self._progress.update(self._tasks[key], completed=done, total=total, note=note)

    def hide(self, key: str) -> None:
        if (task := self._tasks.pop(key, None)) is not None:
            self._progress.remove_task(task)

    def show_job(self, job: Job) -> None:
        """A bar for each recording under way, and the last for all of them."""
        if any(file.status in _UNDER_WAY and f"file {file.index}" not in self._tasks for file in job.files):
            self.hide("all")  # and comes again below the new ones
        for file in job.files:
            if file.status in _UNDER_WAY:
                self.show(f"file {file.index}", file.name, file.done_s, file.duration_s, file.status)
            else:
                self.hide(f"file {file.index}")
        self.show("all", "all", job.progress.done_s, job.progress.total_s, _note(job))


def _note(job: Job) -> str:
    """How many are over, and what is known of the rest."""
    words = f"{sum(file.is_over for file in job.files)} of {len(job.files)}"
    if job.progress.total_s is None:
        looked_at = sum(file.is_over or file.duration_s is not None for file in job.files)
        return f"{words}, {looked_at} looked at"
    return words if job.progress.eta_s is None else f"{words}, {duration(job.progress.eta_s)} to go"


def short(name: str) -> str:
    """A file's name as a terminal may show it."""
    shown = printable(name)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
