"""From windows to segments, with faster-whisper.

Every window is heard on its own: `condition_on_previous_text` is off, and without a temperature the model decodes at 0
only, where Whisper's own ladder would sample at random. So a window's segments are the same in every run, whatever was
heard before it and after it.

With a batch size above 1 several windows go through the model together. Its batched pipeline drops what follows the
last timestamp of a window, so a window whose text ends early is heard again on its own.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.transcribe import Segment as Heard
from faster_whisper.transcribe import Word as HeardWord
from msgspec.structs import replace

from familyai.transcript import Segment, Task, Word
from workers.speech.decode import SAMPLE_RATE
from workers.speech.windows import Window

DETECTION_WINDOWS = 3
"""From how many windows the language is told, at most."""

EARLY_END_S = 0.6
"""A batched window whose text ends this long before the window does may have lost some."""

NO_SPEECH = 0.6
"""Whisper's own threshold: above it perhaps nobody speaks, and a window is heard alone, where Whisper's tests apply."""

FRAMES_PER_S = 100


@dataclass(frozen=True)
class Wish:
    """What is asked of the model; `language` is a code, `temperature` None means 0 without sampling."""

    language: str
    task: Task = "transcribe"
    prompt: str | None = None
    temperature: float | None = None
    words: bool = False


class Recogniser:
    """A loaded model, used by several threads at once: as many as it has workers run side by side."""

    def __init__(self, model: WhisperModel, batch_size: int = 1) -> None:
        self._model = model
        self._batch_size = batch_size

    @property
    def is_multilingual(self) -> bool:
        return bool(self._model.model.is_multilingual)

    def detect_language(self, windows: Sequence[Window]) -> str:
        """The language of the first half minute that leaves no doubt, else of most of them."""
        if not self.is_multilingual:
            return "en"
        sound = np.concatenate([window.samples for window in windows])
        return str(self._model.detect_language(sound, language_detection_segments=DETECTION_WINDOWS)[0])

    def recognise(self, windows: Iterable[Window], wish: Wish) -> Iterator[Segment]:
        """Segments on the recording's clock, in order, none outside its window; blocks for each batch of windows."""
        rest = iter(windows)
        batches = iter(lambda: list(islice(rest, self._batch_size)), [])
        heard = chain.from_iterable(self._hear(batch, wish) for batch in batches)
        segments = chain.from_iterable(within(window, parts) for window, parts in heard)
        return (replace(segment, id=number) for number, segment in enumerate(segments))

    def _hear(self, batch: list[Window], wish: Wish) -> Iterator[tuple[Window, Iterable[Heard]]]:
        together = self._hear_together(batch, wish) if len(batch) > 1 else [(batch[0], [])]
        for window, heard in together:
            yield window, self._hear_alone(window, wish) if is_doubtful(window, heard) else heard

    def _hear_alone(self, window: Window, wish: Wish) -> Iterable[Heard]:
        segments: Iterable[Heard] = self._model.transcribe(window.samples, **_options(wish))[0]
        return segments

    def _hear_together(self, batch: list[Window], wish: Wish) -> Iterable[tuple[Window, list[Heard]]]:
        """The windows stand back to back on the batch's clock; a segment's `seek` is its window's start there."""
        ends_s = np.cumsum([len(window.samples) for window in batch]) / SAMPLE_RATE
        starts_s = [0.0, *ends_s[:-1].tolist()]
        clips = [{"start": start_s, "end": end_s} for start_s, end_s in zip(starts_s, ends_s.tolist(), strict=True)]
        sound = np.concatenate([window.samples for window in batch])
        pipeline = BatchedInferencePipeline(self._model)  # keeps a state while it works, so each call has its own
        heard, _ = pipeline.transcribe(
            sound, clip_timestamps=clips, batch_size=len(batch), without_timestamps=False, **_options(wish)
        )
        own: dict[int, list[Heard]] = {int(start_s * FRAMES_PER_S): [] for start_s in starts_s}
        for segment in heard:
            own[segment.seek].append(segment)
        for window, start_s in zip(batch, starts_s, strict=True):
            yield window, [_earlier(segment, start_s) for segment in own[int(start_s * FRAMES_PER_S)]]


def within(window: Window, heard: Iterable[Heard]) -> Iterator[Segment]:
    """Segments of one window on the recording's clock: in order, inside it, with text, and longer than nothing."""
    earliest_s = window.start_s
    for segment in heard:
        start_s = _clamped(window.start_s + segment.start, earliest_s, window.end_s)
        end_s = _clamped(window.start_s + segment.end, start_s, window.end_s)
        if not segment.text.strip() or start_s == end_s:
            continue
        words = tuple(_words(segment.words or (), window.start_s, start_s, end_s))
        yield _segment(segment, start_s, end_s, words)
        earliest_s = end_s


def is_doubtful(window: Window, heard: Sequence[Heard]) -> bool:
    """Whether the window goes on after its last segment, or perhaps nobody speaks in it."""
    if not heard or heard[0].no_speech_prob > NO_SPEECH:
        return True
    return bool(window.end_s - window.start_s - heard[-1].end > EARLY_END_S)


def _options(wish: Wish) -> dict[str, Any]:
    return {
        "language": wish.language,
        "task": wish.task,
        "initial_prompt": wish.prompt,
        "temperature": wish.temperature or 0.0,
        "condition_on_previous_text": False,
        "word_timestamps": wish.words,
    }


def _earlier(heard: Heard, by_s: float) -> Heard:
    words = [dataclasses.replace(word, start=word.start - by_s, end=word.end - by_s) for word in heard.words or ()]
    return dataclasses.replace(heard, start=heard.start - by_s, end=heard.end - by_s, words=words)


def _clamped(time_s: float, earliest_s: float, latest_s: float) -> float:
    return round(float(min(max(time_s, earliest_s), latest_s)), 3)


def _words(heard: Iterable[HeardWord], offset_s: float, start_s: float, end_s: float) -> Iterator[Word]:
    earliest_s = start_s
    for word in heard:
        begin = _clamped(offset_s + word.start, earliest_s, end_s)
        earliest_s = _clamped(offset_s + word.end, begin, end_s)
        yield Word(word.word, begin, earliest_s, round(float(word.probability), 3))


def _segment(heard: Heard, start_s: float, end_s: float, words: tuple[Word, ...]) -> Segment:
    return Segment(
        id=0,
        start=start_s,
        end=end_s,
        text=heard.text,
        avg_logprob=round(float(heard.avg_logprob), 3),
        compression_ratio=round(float(heard.compression_ratio), 3),
        no_speech_prob=round(float(heard.no_speech_prob), 3),
        temperature=float(heard.temperature or 0),
        words=words,
    )
