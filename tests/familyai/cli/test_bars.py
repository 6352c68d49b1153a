"""Bars on a terminal: those under way, all of them last, and lines that stay."""

import io
import re

import pytest
from rich.console import Console

from familyai.cli import console
from familyai.cli.bars import Bars, short
from familyai.cli.follow import File, Job, Progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    shown = io.StringIO()
    made = Console(file=shown, force_terminal=True, color_system=None, width=100)
    monkeypatch.setattr(console, "out", made)
    monkeypatch.setattr(console, "err", made)
    return shown


def job(*files: File, **progress: float) -> Job:
    return Job("transcription-1", "running", list(files), Progress(**progress))


def bars_of(bars: Bars) -> list[tuple[str, float | None, float]]:
    return [(task.description, task.total, task.completed) for task in bars._progress.tasks]


@pytest.mark.usefixtures("terminal")
def test_what_is_under_way_has_a_bar_and_all_of_it_the_last() -> None:
    with Bars() as bars:
        bars.show_job(job(File(0, "a", "preparing"), File(1, "b", "queued")))
        assert bars_of(bars) == [("a", None, 0), ("all", None, 0)]
        bars.show_job(
            job(File(0, "a", "running", 20, 5), File(1, "b", "running", 9, 0), done_s=5, total_s=29, eta_s=60)
        )
        assert bars_of(bars) == [("a", 20, 5), ("b", 9, 0), ("all", 29, 5)]
        assert bars._progress.tasks[-1].fields["note"] == "0 of 2, 1 min 0 s to go"
        bars.show_job(job(File(0, "a", "completed", 20, 20), File(1, "b", "running", 9, 3), done_s=23, total_s=29))
        assert bars_of(bars) == [("b", 9, 3), ("all", 29, 23)]
        assert bars._progress.tasks[-1].fields["note"] == "1 of 2"


@pytest.mark.usefixtures("terminal")
def test_while_lengths_are_unknown_it_says_how_many_are_known() -> None:
    with Bars() as bars:
        bars.show_job(job(File(0, "a", "queued", 20), File(1, "b", "preparing")))
        assert bars_of(bars) == [("b", None, 0), ("all", None, 0)]
        assert bars._progress.tasks[-1].fields["note"] == "0 of 2, 1 looked at"


def test_lines_stay_and_no_name_steers_the_terminal(terminal: io.StringIO) -> None:
    with Bars() as bars:
        bars.say("a.m4a\x1b[2J: a.txt")
        bars.complain("[red]b.mp3\x9b: no sound")
    assert "a.m4a[2J: a.txt\n" in terminal.getvalue()
    assert "[red]b.mp3: no sound\n" in terminal.getvalue()


def seen(written: str) -> list[str]:
    """The rows that are left on a terminal as wide as all of them."""
    rows, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if piece == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif piece == "\r":
            column = 0
        elif piece == "\x1b[1A":
            row = max(0, row - 1)
        elif piece == "\x1b[2K":
            rows[row] = ""
        elif not piece.startswith("\x1b"):
            rows[row] = rows[row][:column].ljust(column) + piece + rows[row][column + len(piece) :]
            column += len(piece)
    return [text.rstrip() for text in rows if text.strip()]


def test_bars_wipe_out_no_line_above_them(terminal: io.StringIO) -> None:
    with Bars() as bars:
        bars.show_job(job(File(0, "a", "running"), File(1, "b", "running"), File(2, "c", "running")))
        bars.complain("d.mp3: no sound")
        bars.advise("The job runs on.")
        bars.warn("nobody answers")
        bars.advise("To end it: --cancel")
        bars.say("e.mp3: e.txt")
    told = ["d.mp3: no sound", "The job runs on.", "warning: nobody answers", "To end it: --cancel", "e.mp3: e.txt"]
    assert seen(terminal.getvalue()) == told


def test_a_redirected_stderr_gets_its_lines(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=log, width=100))
    with Bars() as bars:
        bars.complain("d.mp3: no sound")
    assert log.getvalue() == "d.mp3: no sound\n"
    assert "no sound" not in terminal.getvalue()


def test_long_names_are_cut() -> None:
    assert short("x" * 200) == "x" * 39 + "…"
