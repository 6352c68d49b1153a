"""One recording from its file to its transcript, or to the windows that are transcribed one by one."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO

from familyai.blobs import BlobStore
from familyai.transcript import Segment, Task, Transcript
from workers.speech.decode import decode, to_pcm
from workers.speech.in_thread import until
from workers.speech.recognise import DETECTION_WINDOWS, Recogniser, Wish
from workers.speech.windows import AllWindows, VoicedWindows, Window, Windows


@dataclass(frozen=True)
class Order:
    """What is to be made of a recording; `language` None: find out; `is_cut`: it is one window and heard as it is."""

    language: str | None = None
    task: Task = "transcribe"
    prompt: str | None = None
    temperature: float | None = None
    words: bool = False
    is_cut: bool = False


class Listening:
    """Transcribes one file. Its memory goes by what is heard at once and by the text, never by the recording."""

    def __init__(self, recogniser: Recogniser, file: BinaryIO, order: Order) -> None:
        self._recogniser = recogniser
        self._file = file
        self._order = order
        self._language = order.language
        self._windows: Windows | None = None

    def segments(self, stop: threading.Event) -> Generator[Segment, None, None]:
        """Blocks. Closes the file at its end. Raises BadAudio, Stopped between two steps, and what the file raises."""
        with closing(self._file):
            blocks = until(stop, decode(self._file))
            self._windows = AllWindows(blocks) if self._order.is_cut else VoicedWindows(blocks)
            windows = until(stop, self._windows)
            first = list(islice(windows, 0 if self._language else DETECTION_WINDOWS))
            if first:
                self._language = self._recogniser.detect_language(first)
            yield from self._recogniser.recognise(chain(first, windows), self._wish)

    def transcript(self, segments: list[Segment]) -> Transcript:
        """The whole, once the segments have come to their end."""
        return Transcript(self._language, self.duration_s, tuple(segments), self._order.task)

    @property
    def duration_s(self) -> float:
        return self._windows.duration_s if self._windows else 0.0

    @property
    def _wish(self) -> Wish:
        order = self._order
        return Wish(self._language or "en", order.task, order.prompt, order.temperature, order.words)


@dataclass(frozen=True)
class CutWindow:
    """Where a window was on the recording's clock, and where its samples lie in the prepared blob, in bytes."""

    start: float
    end: float
    offset: int
    length: int


class Cutting:
    """Cuts a recording in the blob store; its voiced windows become another blob, 16 kHz mono s16le back to back."""

    def __init__(
        self, recogniser: Recogniser, blobs: BlobStore, audio: str, prepared: str, language: str | None
    ) -> None:
        self._recogniser = recogniser
        self._blobs = blobs
        self._audio = audio
        self._prepared = prepared
        self.language = language
        self.duration_s = 0.0

    def windows(self, stop: threading.Event) -> Generator[CutWindow, None, None]:
        """Blocks; `language` and `duration_s` are known at the end, and only then is the blob there.

        Raises FileNotFoundError, BadAudio, Stopped, and OSError when the disk is full.
        """
        with self._blobs.open(self._audio) as file, self._blobs.create(self._prepared) as prepared:
            voiced = VoicedWindows(until(stop, decode(file)))
            first: list[Window] = []
            yield from _written(self._first_kept(voiced, first), prepared)
            self.duration_s = voiced.duration_s
            if first and not self.language:
                self.language = self._recogniser.detect_language(first)

    def _first_kept(self, windows: Windows, first: list[Window]) -> Iterator[Window]:
        for window in windows:
            if not self.language and len(first) < DETECTION_WINDOWS:
                first.append(window)
            yield window


def _written(windows: Iterator[Window], prepared: BinaryIO) -> Iterator[CutWindow]:
    offset = 0
    for window in windows:
        pcm = to_pcm(window.samples)
        prepared.write(pcm)
        yield CutWindow(window.start_s, window.end_s, offset, len(pcm))
        offset += len(pcm)
