"""Bars on a terminal: those under way, all of them last, and lines that stay."""

import io

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


def test_lines_stay_and_no_name_steers_the_terminal(terminal: io.StringIO) -> None:
    with Bars() as bars:
        bars.say("a.m4a\x1b[2J: a.txt")
        bars.complain("[red]b.mp3\x9b: no sound")
    assert "a.m4a[2J: a.txt\n" in terminal.getvalue()
    assert "[red]b.mp3: no sound\n" in terminal.getvalue()


def test_long_names_are_cut() -> None:
    assert short("x" * 200) == "x" * 39 + "…"
