"""`familyai speak`: a text, spoken into a file or into a pipe while it is still being spoken."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import httpx
import msgspec

from familyai.cli import console
from familyai.cli.api import Api, decoded
from familyai.cli.console import out, own_command, printable, warn
from familyai.cli.files import whole
from familyai.errors import FamilyAIError
from familyai.settings import load_settings

FORMATS = {
    ".mp3": "mp3",
    ".opus": "opus",
    ".ogg": "opus",
    ".oga": "opus",
    ".aac": "aac",
    ".flac": "flac",
    ".wav": "wav",
    ".pcm": "pcm",
}
"""By a file's ending, as the API calls them."""


class CannotSpeak(FamilyAIError):
    """Something is missing, and the message says what."""


class _Voice(msgspec.Struct):
    id: str


class _Voices(msgspec.Struct):
    voices: list[_Voice]


def speak(text: str | None, path: Path | None, voice: str | None, speed: float, model: str | None) -> int:
    """The exit code. Raises FamilyAIError; then there is no file."""
    to_file = path is not None
    if not to_file and sys.stdout.isatty():
        raise CannotSpeak("say where to: -o FILE, or send it on through a pipe")
    body: dict[str, object] = {"response_format": format_of(path), "speed": speed, "input": _given(text)}
    body |= {name: value for name, value in (("voice", voice), ("model", model)) if value is not None}
    with Api(load_settings()) as api, _place(path) as place, api.answer("POST", "/v1/audio/speech", json=body) as sound:
        size_bytes = _copy(sound, place)
    if path is not None:
        out.print(f"{printable(str(path))}: {size_bytes / 1000:.0f} kB", markup=False, soft_wrap=True)
    return 0


def voices() -> int:
    """Shows their names. Raises ApiFailed."""
    with Api(load_settings()) as api:
        for voice in decoded(api.ask("GET", "/v1/audio/voices"), _Voices).voices:
            out.print(voice.id, markup=False)
    return 0


def format_of(path: Path | None) -> str:
    """As the file's ending says; a pipe gets mp3. Raises CannotSpeak."""
    if path is None:
        return "mp3"
    if path.is_dir():
        raise CannotSpeak(f"{path} is a folder: name a file in it, such as {path / 'speech.mp3'}")
    if found := FORMATS.get(path.suffix.lower()):
        return found
    raise CannotSpeak(f"{path}: the ending decides the format, and this one is none of {', '.join(FORMATS)}")


def _given(text: str | None) -> str:
    """The argument, or with `-` or none of it what comes in through a pipe. Raises CannotSpeak."""
    if text is None and sys.stdin.isatty():
        raise CannotSpeak("nothing to say: give a text, or send one in through a pipe")
    try:
        said = sys.stdin.buffer.read().decode() if text in (None, "-") else text
    except UnicodeDecodeError:
        raise CannotSpeak("what comes in is no text in UTF-8") from None
    if text and os.path.isfile(text):
        warn(f"this speaks the name '{text}'; to hear what stands in it: {own_command()} speak < {shlex.quote(text)}")
    if not (said or "").strip():
        raise CannotSpeak("nothing to say: the text is empty")
    return said or ""


@contextmanager
def _place(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole(path) as file:
        yield file


def _copy(sound: httpx.Response, place: BinaryIO) -> int:
    size_bytes = 0
    with console.err.status("speaking…") if console.err.is_terminal else nullcontext() as status:
        for piece in sound.iter_bytes():
            place.write(piece)
            size_bytes += len(piece)
            if status:
                status.update(f"speaking… {size_bytes / 1000:.0f} kB")
    return size_bytes
