"""A text through the command: into a file or a pipe, and nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pytest

from familyai.cli import speak
from familyai.cli.api import ApiFailed, ApiLost
from familyai.cli.speak import CannotSpeak, format_of
from familyai.errors import FamilyAIError
from tests.familyai.cli.support import FakeApi


def test_it_is_spoken_into_a_file(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ogg"
    assert speak.speak("Dinner is ready.", path, "joe", 1.5, "tts") == 0
    assert path.read_bytes() == b"ID3sound"
    (asked,) = api.speech
    assert asked == {
        "input": "Dinner is ready.",
        "response_format": "opus",
        "speed": 1.5,
        "voice": "joe",
        "model": "tts",
    }
    assert str(path) in capsys.readouterr().out


def test_what_is_not_given_is_left_to_the_household(api: FakeApi, tmp_path: Path) -> None:
    speak.speak("Hi", tmp_path / "a.mp3", None, 1.0, None)
    assert api.speech == [{"input": "Hi", "response_format": "mp3", "speed": 1.0}]


def piped(*words: str, text: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "familyai.cli.main", "speak", *words]
    return subprocess.run(command, input=text, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("words", [(), ("-",)])
def test_text_and_sound_go_through_pipes(api: FakeApi, words: tuple[str, ...]) -> None:
    ended = piped(*words, text="Grüße aus der Küche".encode())
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"ID3sound", b"")
    assert api.speech[0]["input"] == "Grüße aus der Küche"


@pytest.mark.parametrize(
    ("text", "complaint"), [(b" \n", b"error: nothing to say"), (b"\xff\xfe", b"error: what comes in is no text")]
)
def test_what_cannot_be_said(api: FakeApi, text: bytes, complaint: bytes) -> None:
    ended = piped(text=text)
    assert ended.returncode == 1
    assert ended.stderr.startswith(complaint)
    assert api.calls == []


def test_without_a_place_on_a_terminal_it_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(CannotSpeak, match="-o FILE"):
        speak.speak("Hi", None, None, 1.0, None)


def test_formats_go_by_the_ending(tmp_path: Path) -> None:
    assert [format_of(Path(f"a{ending}")) for ending in (".MP3", ".opus", ".pcm")] == ["mp3", "opus", "pcm"]
    assert format_of(None) == "mp3"
    with pytest.raises(CannotSpeak, match=r"a\.txt: .* none of \.mp3, \.opus"):
        format_of(Path("a.txt"))
    with pytest.raises(CannotSpeak, match="is a folder: name a file in it"):
        format_of(tmp_path)


def test_the_name_of_a_text_is_not_the_text(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = tmp_path / "my book.txt"
    book.write_text("Once upon a time")
    speak.speak(str(book), tmp_path / "a.mp3", None, 1.0, None)
    assert f"speak < '{book}'" in capsys.readouterr().err
    assert api.speech[0]["input"] == str(book)


def test_the_apis_own_message_is_the_error(api: FakeApi, tmp_path: Path) -> None:
    api.sound = (400, b"there is no voice 'x'")
    with pytest.raises(ApiFailed, match=r"^there is no voice 'x'$"):
        speak.speak("Hi", tmp_path / "a.mp3", "x", 1.0, None)
    assert list(tmp_path.iterdir()) == []


def test_speech_that_breaks_off_leaves_no_file_and_the_older_one(api: FakeApi, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"older")
    api.sound = (200, b"ID3<cut>")
    with pytest.raises(ApiLost, match="broke"):
        speak.speak("Hi", path, None, 1.0, None)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"older"]


def test_a_place_that_cannot_be_written_is_named(api: FakeApi, tmp_path: Path) -> None:
    with pytest.raises(FamilyAIError, match=r"cannot write .*none.a\.mp3: No such file"):
        speak.speak("Hi", tmp_path / "none" / "a.mp3", None, 1.0, None)
    assert api.calls == []


def test_voices_are_listed(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert speak.voices() == 0
    assert capsys.readouterr().out == "joe\nalba\n"
