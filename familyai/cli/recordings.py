"""Recordings on this machine: which files are meant, what their results are called, and which have come to rest."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from familyai.errors import FamilyAIError
from familyai.filenames import stem

SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "aac", "ac3", "aif", "aiff", "amr", "avi", "caf", "flac", "m4a", "m4b", "m4v", "mka", "mkv", "mov"),
        *("mp2", "mp3", "mp4", "mpeg", "mpg", "mpga", "oga", "ogg", "ogv", "opus", "wav", "webm", "wma", "wmv"),
    )
)
"""What is taken out of a folder. A file that is named itself may be called anything."""
SETTLED_S = 4.0
"""So long a watched recording must not have changed: a copy over a slow network pauses now and then."""

Stamp = tuple[int, int]
"""Size and time of the last change: the same as long as nobody writes."""


class NoRecording(FamilyAIError):
    """There is nothing to transcribe, and this is why."""


def expanded(paths: Sequence[Path]) -> list[Path]:
    """The files, and of folders what lies in them, each once. Raises NoRecording for what is not there."""
    found: dict[Path, Path] = {}
    for path in paths:
        for file in in_folder(path) if path.is_dir() else [path]:
            _check(file)
            found.setdefault(file.resolve(), file)
    if not found:
        folders = ", ".join(str(path) for path in paths)
        raise NoRecording(
            f"{folders}: no sound or video file lies right in it, by its ending; name one itself, whatever it is called"
        )
    return list(found.values())


def in_folder(folder: Path) -> list[Path]:
    """The recordings right in it, by name. Raises NoRecording."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise NoRecording(f"{folder}: {error.strerror}") from error
    listed = [folder / name for name in names if not name.startswith(".")]
    return [file for file in listed if file.suffix.lower() in SUFFIXES and file.is_file()]


def _check(file: Path) -> None:
    """Opens it, so that what cannot be read is known before anything is sent."""
    try:
        if not file.is_file():
            raise NoRecording(f"{file}: " + ("not a file" if file.exists() else "there is no such file"))
        with open(file, "rb"):
            pass
    except OSError as error:
        raise NoRecording(f"{file}: {error.strerror}") from error


def lasting_stems(files: Sequence[Path]) -> list[str]:
    """What the results of each are called, today and tomorrow: by its stem, or by its whole name if others share that.

    So `a.m4a` alone gives `a`, but beside `a.wav` it gives `a.m4a`, whichever of them came first.
    """
    shared = Counter((file.parent, stem(file.name).casefold()) for file in files)
    return [_whole(file) if shared[file.parent, stem(file.name).casefold()] > 1 else stem(file.name) for file in files]


def _whole(file: Path) -> str:
    return f"{stem(file.name)}{file.suffix}"


def is_done(file: Path, results: Iterable[Path]) -> bool:
    """Whether all its results are there and were written after it. Raises OSError when it has gone meanwhile."""
    changed_s = file.stat().st_mtime
    return all(result.exists() and result.stat().st_mtime >= changed_s for result in results)


class Settling:
    """Knows since when each recording has been as it is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[Path, tuple[Stamp, float]] = {}

    def settled(self, stamps: dict[Path, Stamp]) -> list[Path]:
        """Those that hold something and have not changed for SETTLED_S. To be asked again and again."""
        now_s = self._clock()
        kept = {path: entry for path, entry in self._since.items() if stamps.get(path) == entry[0]}
        self._since = {path: kept.get(path, (stamp, now_s)) for path, stamp in stamps.items()}
        return [path for path, ((size, _), at_s) in self._since.items() if size and now_s - at_s >= SETTLED_S]


def stamps_of(files: Iterable[Path]) -> dict[Path, Stamp]:
    """Without those that have just gone."""
    stamps = {}
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            continue
        stamps[file] = (stat.st_size, stat.st_mtime_ns)
    return stamps
