"""What a person reads while waiting, where no terminal can redraw lines."""

import sys
import time
from pathlib import Path

import pytest

from familyai.cli import console
from familyai.cli.supervisor import Phase, ProcessState


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (273600, "3 d 4 h"), (-1, "0 s")],
)
def test_durations(seconds: float, words: str) -> None:
    assert console.duration(seconds) == words


def state(phase: Phase, words: str = "", ago_s: float = 0) -> ProcessState:
    return ProcessState(name="front", phase=phase, words=words, since_s=time.time() - ago_s)


def test_a_line_per_change_and_none_without(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Progress() as progress:
        for seen in (
            state(Phase.WAITING),
            state(Phase.STARTING, "starting"),
            state(Phase.STARTING, "starting", 1.2),
            state(Phase.STARTING, "loading", 62),
            state(Phase.HEALTHY, "ok"),
            state(Phase.HEALTHY, "ok"),
        ):
            progress.update([seen])
    assert capsys.readouterr().out.splitlines() == ["front: starting", "front: loading 1 min 2 s", "front: healthy"]


def test_long_waits_are_heard_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.Progress() as progress:
        for _ in range(4):
            progress.update([state(Phase.STARTING, "loading")])
            now[0] += console.HEARTBEAT_S / 2
    assert capsys.readouterr().out.splitlines() == ["front: loading", "front: loading"]


def test_markup_in_words_is_just_text(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Progress() as progress:
        progress.update([state(Phase.FAILED, "[/red] exit")])
    assert capsys.readouterr().out == "front: [/red] exit\n"


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation's `bin`, with the command in it and not on the path."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "familyai").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(folder.parent))
    monkeypatch.setattr(sys, "argv", [str(folder / "familyai"), "status"])
    return folder


def test_the_command_is_named_as_it_can_be_typed(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert console.own_command() == ".venv/bin/familyai"
    monkeypatch.chdir(venv)
    assert console.own_command() == "./familyai"
    monkeypatch.setenv("PATH", str(venv))
    assert console.own_command() == "familyai"


def test_the_command_of_this_installation_is_found_however_python_was_started(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["-m"])
    assert console.own_command() == ".venv/bin/familyai"
    (venv / "familyai").unlink()
    assert console.own_command() == "familyai"


def test_a_name_in_a_warning_is_just_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.warn("[red]memos [x]\x1b[2J \udcfc: gone")
    assert capsys.readouterr().err == "warning: [red]memos [x][2J \ufffd: gone\n"
