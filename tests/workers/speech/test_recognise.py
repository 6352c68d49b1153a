import re
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import jiwer
import numpy as np
import pytest
from faster_whisper.transcribe import Segment as Heard
from faster_whisper.transcribe import Word as HeardWord

from tests.spoken import RATE, STORY, silence, talk
from workers.speech.recognise import Recogniser, Wish, is_doubtful, within
from workers.speech.windows import VoicedWindows, Window

WINDOW = Window(100.0, 110.0, np.zeros(10 * RATE, np.float32))


def heard(start: float, end: float, text: str = " x", words: Any = None, no_speech_prob: float = 0.0) -> Heard:
    return Heard(1, 0, start, end, text, [], -0.2, 1.0, no_speech_prob, words, 0.0)


def test_times_are_the_recordings() -> None:
    (segment,) = within(WINDOW, [heard(1, 3, words=[HeardWord(1, 2, " a", 0.9), HeardWord(2, 3, " b", 0.8)])])
    assert (segment.start, segment.end) == (101, 103)
    assert [(word.start, word.end) for word in segment.words] == [(101, 102), (102, 103)]


def test_nothing_runs_past_its_window_or_backwards() -> None:
    words = [HeardWord(3.5, 12, " a", 0.9), HeardWord(2, 2.5, " b", 0.8)]
    first, second = within(WINDOW, [heard(-1, 4), heard(3, 30, words=words)])
    assert (first.start, first.end, second.start, second.end) == (100, 104, 104, 110)
    assert [(word.start, word.end) for word in second.words] == [(104, 110), (110, 110)]


def test_what_says_nothing_or_lasts_no_time_is_left_out() -> None:
    assert list(within(WINDOW, [heard(1, 2, "  "), heard(2, 2), heard(11, 12)])) == []


@pytest.mark.parametrize(
    ("segments", "doubtful"),
    [([heard(0, 9.9)], False), ([], True), ([heard(0, 5)], True), ([heard(0, 9.9, no_speech_prob=0.9)], True)],
    ids=["whole", "nothing", "ends early", "perhaps silence"],
)
def test_which_windows_are_heard_again(segments: list[Heard], doubtful: bool) -> None:
    assert is_doubtful(WINDOW, segments) is doubtful


class Polyglot:
    """A model that detects languages, and notes how it was asked."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(is_multilingual=True)
        self.asked: list[Any] = []

    def detect_language(self, sound: Any, language_detection_segments: int) -> tuple[str, float, list[Any]]:
        self.asked.append((len(sound) / RATE, language_detection_segments))
        return "de", 0.9, []


def test_the_language_is_told_from_several_windows() -> None:
    model = Polyglot()
    assert Recogniser(model).detect_language([WINDOW, WINDOW]) == "de"  # type: ignore[arg-type]
    assert model.asked == [(20.0, 3)]


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


@pytest.mark.real
@pytest.mark.parametrize("batch_size", [1, 3])
def test_what_was_said_is_heard(whisper: Any, batch_size: int) -> None:
    segments = list(Recogniser(whisper, batch_size).recognise(VoicedWindows([talk(*STORY)]), Wish("en", words=True)))
    said = "".join(segment.text for segment in segments)
    assert jiwer.wer(plain(" ".join(STORY)), plain(said)) < 0.06  # a sentence that was left out would be more
    assert [segment.id for segment in segments] == list(range(len(segments)))
    assert all(before.end <= after.start for before, after in pairwise(segments))
    for segment in segments:
        assert segment.words, "asked for"
        assert all(segment.start <= word.start <= word.end <= segment.end for word in segment.words)
        assert all(before.end <= after.start for before, after in pairwise(segment.words))


@pytest.mark.real
def test_a_window_is_heard_the_same_alone(whisper: Any) -> None:
    """What lets a recording go on where a killed worker left it."""
    recogniser, wish = Recogniser(whisper), Wish("en")
    windows = list(VoicedWindows([talk(*STORY)]))
    assert len(windows) > 1
    whole = [(part.start, part.end, part.text) for part in recogniser.recognise(windows, wish)]
    singly = [part for window in windows for part in recogniser.recognise([window], wish)]
    assert [(part.start, part.end, part.text) for part in singly] == whole


@pytest.mark.real
def test_the_embedded_model_knows_english_only(whisper: Any) -> None:
    assert Recogniser(whisper).detect_language([WINDOW]) == "en"


@pytest.mark.real
def test_nobody_is_heard_in_noise(whisper: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 40 * RATE).astype(np.float32)
    windows = VoicedWindows([noise, silence(10)])
    assert list(Recogniser(whisper).recognise(windows, Wish("en"))) == []
