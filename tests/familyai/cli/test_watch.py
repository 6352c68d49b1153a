"""A watched folder: what comes into it becomes text, once, and what fails is left alone until it changes."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from familyai.cli import recordings, watch
from familyai.cli.api import ApiLost
from familyai.cli.recordings import NoRecording
from familyai.cli.transcribe import Wanted
from tests.familyai.cli.support import FakeApi


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What happens between one look and the next; after the last, Ctrl-C."""
    steps: list[Callable[[], None]] = []

    def sleep(_: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    class Time:
        monotonic = staticmethod(time.monotonic)

    Time.sleep = staticmethod(sleep)  # type: ignore[attr-defined]
    monkeypatch.setattr(watch, "time", Time)
    monkeypatch.setattr(recordings, "SETTLED_S", 0.0)
    return steps


def nothing() -> None:
    pass


def test_what_comes_is_transcribed_beside_it_and_once(
    api: FakeApi, tmp_path: Path, looks: list[Callable[[], None]]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    looks += [lambda: (folder / "a.m4a").write_bytes(b"sound") and None, nothing, nothing]
    assert watch.watch([folder], None, Wanted(("txt", "srt"))) == 130
    assert sorted(path.name for path in folder.iterdir()) == ["a.m4a", "a.srt", "a.txt"]
    assert api.calls.count("POST /v1/transcription-jobs") == 1


def test_what_was_done_before_is_not_done_again(api: FakeApi, tmp_path: Path, looks: list[Callable[[], None]]) -> None:
    for name in ("a.m4a", "a.txt"):
        (tmp_path / name).write_bytes(b"x")
    looks += [nothing, nothing]
    watch.watch([tmp_path], None, Wanted())
    assert api.calls == ["GET /v1/models"]


def test_results_may_lie_elsewhere(api: FakeApi, tmp_path: Path, looks: list[Callable[[], None]]) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.m4a", "a.wav"):
        (tmp_path / "in" / name).write_bytes(b"sound")
    looks += [nothing]
    watch.watch([tmp_path / "in"], tmp_path / "out", Wanted())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.m4a.txt", "a.wav.txt"]


def test_what_fails_is_tried_again_only_when_it_changes(
    api: FakeApi, tmp_path: Path, looks: list[Callable[[], None]], capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "a.m4a"
    recording.write_bytes(b"sound")
    api.failing = {"a.m4a": "this is no sound"}
    looks += [nothing, nothing, lambda: recording.write_bytes(b"another") and None, nothing]
    watch.watch([tmp_path], None, Wanted())
    assert api.calls.count("POST /v1/transcription-jobs") == 2
    assert capsys.readouterr().err.count("a.m4a: this is no sound") == 2


def test_a_folder_that_goes_and_comes_back_is_watched_on(
    api: FakeApi, tmp_path: Path, looks: list[Callable[[], None]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, away = tmp_path / "in", tmp_path / "away"
    folder.mkdir()
    (folder / "a.m4a").write_bytes(b"sound")
    folder.rename(away)
    away.rename(folder)
    looks += [lambda: folder.rename(away) and None, lambda: away.rename(folder) and None, nothing]
    watch.watch([folder], None, Wanted())
    assert (folder / "a.txt").exists()
    assert "No such file" in capsys.readouterr().err


def test_mistakes_are_told_at_once(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    with pytest.raises(NoRecording, match="--watch is for folders"):
        watch.watch([tmp_path / "a.wav"], None, Wanted())
    with pytest.raises(NoRecording, match="none: there is no such folder"):
        watch.watch([tmp_path / "none"], None, Wanted())
    with pytest.raises(NoRecording, match="would mix"):
        watch.watch([tmp_path, tmp_path], tmp_path, Wanted())
    monkeypatch.setenv("FAMILYAI_URL", "http://127.0.0.1:9")
    with pytest.raises(ApiLost):
        watch.watch([tmp_path], None, Wanted())
