"""Which files are meant, what their results are called, and when a recording has come to rest."""

import os
from pathlib import Path

import pytest

from familyai.cli.recordings import (
    SETTLED_S,
    NoRecording,
    Settling,
    expanded,
    in_folder,
    is_done,
    lasting_stems,
    stamps_of,
)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"sound")


def test_of_a_folder_what_sounds_is_taken(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b.MP3", "a.wav", ".hidden.wav", "notes.txt", "c.srt", "deep/d.wav")))
    (tmp_path / "folder.wav").mkdir()
    assert in_folder(tmp_path) == [tmp_path / "a.wav", tmp_path / "b.MP3"]


def test_a_file_that_is_named_may_be_called_anything_and_counts_once(tmp_path: Path) -> None:
    touch(tmp_path / "voice", tmp_path / "a.wav")
    (tmp_path / "same.wav").symlink_to(tmp_path / "a.wav")
    assert expanded([tmp_path / "voice", tmp_path / "a.wav", tmp_path]) == [tmp_path / "voice", tmp_path / "a.wav"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoRecording, match=r"x\.wav: there is no such file"):
        expanded([tmp_path / "x.wav"])
    with pytest.raises(NoRecording, match=f"{tmp_path}: no sound or video file lies right in it"):
        expanded([tmp_path])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NoRecording, match="pipe: not a file"):
        expanded([tmp_path / "pipe"])


def test_results_keep_their_names_whoever_comes_later() -> None:
    files = [Path("x/a.m4a"), Path("x/A.wav"), Path("x/b.wav"), Path("y/a.m4a")]
    assert lasting_stems(files) == ["a.m4a", "A.wav", "b", "a"]


def test_done_is_what_has_all_results_and_none_older(tmp_path: Path) -> None:
    recording, one, two = (tmp_path / name for name in ("a.wav", "a.txt", "a.srt"))
    touch(recording, one)
    assert is_done(recording, [one])
    assert not is_done(recording, [one, two])
    os.utime(one, (1, 1))
    assert not is_done(recording, [one])


def test_a_recording_rests_when_it_has_not_changed_for_a_while(tmp_path: Path) -> None:
    now_s = 0.0
    settling, a, b = Settling(lambda: now_s), tmp_path / "a.wav", tmp_path / "b.wav"

    def settled(**sizes: int) -> list[str]:
        return [
            path.name
            for path in settling.settled({tmp_path / f"{name}.wav": (size, 0) for name, size in sizes.items()})
        ]

    assert settled(a=1) == []
    now_s = SETTLED_S - 1
    assert settled(a=2, b=1) == []
    now_s = SETTLED_S + 1
    assert settled(a=2, b=1) == []
    now_s = 2 * SETTLED_S
    assert settled(a=2, b=1) == [a.name, b.name]
    assert settled(b=1) == [b.name]
    assert settled(a=2, b=1) == [b.name]  # it went and came again


def test_an_empty_file_is_waited_for(tmp_path: Path) -> None:
    now_s = 0.0
    settling = Settling(lambda: now_s)
    assert settling.settled({tmp_path: (0, 0)}) == []
    now_s = 100.0
    assert settling.settled({tmp_path: (0, 0)}) == []


def test_what_has_gone_has_no_stamp(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    assert list(stamps_of([tmp_path / "a.wav", tmp_path / "b.wav"])) == [tmp_path / "a.wav"]
