"""Cuts a recording of any length into windows: at most 30 s each, which is what Whisper hears at once, cut at silence.

Voice activity is found by faster-whisper's Silero model in stretches of two minutes, each of which begins after the
last window that was certain. Speech that lies close together goes into one window, so that the model, which works on
30 s whatever it is given, works seldom; where a window is full it is cut at the longest pause of its last third. The
windows depend on the sound alone, not on the blocks it comes in.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from workers.speech.decode import SAMPLE_RATE, Samples

WINDOW = 30 * SAMPLE_RATE
"""Longest window, in samples."""

STRETCH = 120 * SAMPLE_RATE
"""What is searched for voices at once, in samples; of it up to a window and the lead are searched again."""

LEAD = SAMPLE_RATE
"""What the search hears again, in samples, before speech that may have begun at a stretch's end."""

LONGEST_GAP = 3 * SAMPLE_RATE
"""Speech further apart than this, in samples, is not put into one window: in long silence Whisper hears things."""

PAD = 2 * SAMPLE_RATE // 5
"""Silence around a window, in samples, or half of what there is up to its neighbour."""

SPEECH = WINDOW - 2 * PAD
"""From the first to the last word of a window, in samples, at most."""

VAD = VadOptions(max_speech_duration_s=SPEECH / SAMPLE_RATE, min_silence_duration_ms=160, speech_pad_ms=0)


@dataclass(frozen=True)
class Window:
    """A stretch of sound, and where on the recording's clock it was."""

    start_s: float
    end_s: float
    samples: Samples


class Windows(ABC):
    """The windows of a recording, in order and once. To iterate raises what the blocks raise."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._tape = _Tape(blocks)

    @property
    def duration_s(self) -> float:
        """How much has been heard so far, silence included."""
        return self._tape.heard / SAMPLE_RATE

    @abstractmethod
    def __iter__(self) -> Iterator[Window]: ...


class VoicedWindows(Windows):
    """Where somebody speaks. Blocks while it listens: a few thousandths of the recording's length."""

    def __iter__(self) -> Iterator[Window]:
        held, held_at = np.empty(0, np.float32), 0
        while True:
            held = np.concatenate([held, self._tape.read(STRETCH - len(held))])
            is_end = len(held) < STRETCH
            spans, keep = certain(speech_in(held), len(held), is_end)
            for start, end in spans:
                yield _window(held[start:end].copy(), held_at + start)
            if is_end:
                return
            held, held_at = held[keep:], held_at + keep


class AllWindows(Windows):
    """For a recording that has been cut already: back to back, whatever is in it."""

    def __iter__(self) -> Iterator[Window]:
        while len(samples := self._tape.read(WINDOW)):
            yield _window(samples, self._tape.heard - len(samples))


Span = tuple[int, int]
"""Start and end, in samples."""


def speech_in(samples: Samples) -> list[Span]:
    """Where somebody speaks: spans of at most `SPEECH`, apart from each other by silence of 160 ms or more."""
    found = get_speech_timestamps(samples, VAD) if len(samples) else []
    return [(speech["start"], speech["end"]) for speech in found]


def certain(speech: list[Span], heard: int, is_end: bool) -> tuple[list[Span], int]:
    """The windows that nothing heard later can change, and from where on the rest is to be heard again."""
    spans = padded(merged(speech), heard)
    done = [span for span in spans if is_end or span[0] + WINDOW <= heard]
    resume = min([heard, *(start for start, _ in spans[len(done) :])]) - LEAD
    return done, max([0, resume, *(end for _, end in done)])


def merged(speech: list[Span]) -> list[Span]:
    """Spans that lie close go together, up to `SPEECH`; what is between them stays in."""
    spans: list[Span] = []
    held: list[Span] = []
    for span in speech:
        while held and (cut := _cut_before(held, span)):
            spans.append((held[0][0], held[cut - 1][1]))
            held = held[cut:]
        held.append(span)
    return [*spans, (held[0][0], held[-1][1])] if held else spans


def padded(spans: list[Span], heard: int) -> list[Span]:
    """With the silence around them, none into its neighbour."""
    middles = [(before[1] + after[0]) // 2 for before, after in pairwise(spans)]
    limits = zip(spans, [0, *middles], [*middles, heard], strict=False)
    return [(max(start - PAD, first), min(end + PAD, last)) for (start, end), first, last in limits]


def _cut_before(held: list[Span], span: Span) -> int:
    """How many of the held spans are a window without this one: 0 when it belongs to them."""
    if span[0] - held[-1][1] > LONGEST_GAP:
        return len(held)
    if span[1] - held[0][0] <= SPEECH:
        return 0
    later = [i for i in range(1, len(held)) if held[i - 1][1] - held[0][0] >= SPEECH * 2 // 3]
    spans = [*held, span]
    return max([*later, len(held)], key=lambda i: (spans[i][0] - spans[i - 1][1], i))


def _window(samples: Samples, at: int) -> Window:
    return Window(at / SAMPLE_RATE, (at + len(samples)) / SAMPLE_RATE, samples)


class _Tape:
    """Blocks of any size, read in lengths that the reader chooses."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._blocks = iter(blocks)
        self._rest: Samples = np.empty(0, np.float32)
        self.heard = 0

    def read(self, length: int) -> Samples:
        """Shorter only at the end."""
        parts, missing = [], length
        while missing and (len(self._rest) or self._turn()):
            part, self._rest = self._rest[:missing], self._rest[missing:]
            parts.append(part)
            missing -= len(part)
        self.heard += length - missing
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def _turn(self) -> bool:
        """The next block that is not empty, if there is one."""
        self._rest = next((block for block in self._blocks if len(block)), self._rest)
        return len(self._rest) > 0
