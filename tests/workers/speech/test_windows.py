from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.spoken import RATE, STORY, silence, speech, talk
from workers.speech import windows
from workers.speech.windows import (
    LONGEST_GAP,
    PAD,
    SPEECH,
    STRETCH,
    WINDOW,
    AllWindows,
    Span,
    VoicedWindows,
    certain,
    merged,
    padded,
)


def seconds(*spans: tuple[float, float]) -> list[Span]:
    return [(int(start * RATE), int(end * RATE)) for start, end in spans]


def in_blocks(samples: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def loud_spans(samples: NDArray[np.float32]) -> list[Span]:
    """Stands in for the voice detector: whatever is not zero is speech."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (samples != 0).astype(int), [0]])))
    spans = [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
    return [(at, min(at + SPEECH, end)) for start, end in spans for at in range(start, end, SPEECH)]


@pytest.fixture
def _loud_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "speech_in", loud_spans)


def test_near_speech_goes_together() -> None:
    assert merged(seconds((1, 4), (5, 9), (10, 20))) == seconds((1, 20))


def test_far_speech_does_not() -> None:
    gap = LONGEST_GAP / RATE
    assert merged(seconds((1, 4), (4 + gap, 9))) == seconds((1, 9))
    assert merged(seconds((1, 4), (4.1 + gap, 9))) == seconds((1, 4), (4.1 + gap, 9))


def test_a_full_window_is_cut_at_the_longest_late_pause() -> None:
    pauses = seconds((0, 5), (7, 20), (20.2, 24), (25, 27), (27.3, 29), (29.2, 33))
    assert merged(pauses) == seconds((0, 24), (25, 33))


def test_nobody_speaks() -> None:
    assert (merged([]), padded([], 100), certain([], 5 * RATE, False)) == ([], [], ([], 4 * RATE))


def test_silence_around_a_window_is_shared_with_its_neighbour() -> None:
    near, far = seconds((1, 4), (4.4, 9)), seconds((0.1, 4), (6, 9))
    assert padded(near, 20 * RATE) == seconds((0.6, 4.2), (4.2, 9.4))
    assert padded(far, int(9.2 * RATE)) == seconds((0, 4.4), (5.6, 9.2))


def test_a_window_that_may_go_on_is_heard_again() -> None:
    done, keep = certain(seconds((1, 20), (95, 100)), 120 * RATE, is_end=False)
    assert done == seconds((0.6, 20.4))
    assert keep == int((95 - 0.4 - 1) * RATE)


def test_at_the_end_everything_is_certain() -> None:
    done, _ = certain(seconds((1, 20), (95, 100)), 101 * RATE, is_end=True)
    assert done == seconds((0.6, 20.4), (94.6, 100.4))


@pytest.mark.usefixtures("_loud_is_speech")
def test_windows_do_not_depend_on_the_blocks() -> None:
    random = np.random.default_rng(3)
    parts = [
        part
        for _ in range(60)
        for part in (random.uniform(0.1, 1, int(random.uniform(1, 12) * RATE)), silence(random.uniform(0.2, 6)))
    ]
    sound = np.concatenate(parts).astype(np.float32)
    assert len(sound) > 2 * STRETCH
    whole = list(VoicedWindows([sound]))
    for size in (1_600, 64_000, 7_777, STRETCH):
        again = list(VoicedWindows(in_blocks(sound, size)))
        assert [(w.start_s, w.end_s) for w in again] == [(w.start_s, w.end_s) for w in whole]
        assert all(np.array_equal(a.samples, b.samples) for a, b in zip(again, whole, strict=True))
    assert whole == sorted(whole, key=lambda window: window.start_s)
    assert all(before.end_s <= after.start_s for before, after in pairwise(whole))
    assert max(len(window.samples) for window in whole) <= WINDOW
    covered = np.concatenate([window.samples for window in whole])
    assert np.count_nonzero(covered) == np.count_nonzero(sound)  # nothing said is lost, nothing heard twice


@pytest.mark.usefixtures("_loud_is_speech")
def test_samples_are_those_of_the_windows_time() -> None:
    sound = np.arange(1, 300 * RATE + 1, dtype=np.float32)
    for window in VoicedWindows(in_blocks(sound, 64_000)):
        assert window.samples[0] == window.start_s * RATE + 1
        assert window.samples[-1] == window.end_s * RATE


def test_speech_without_a_pause_is_cut_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "speech_in", loud_spans)
    found = list(VoicedWindows([np.ones(400 * RATE, np.float32)]))
    assert sum(len(window.samples) for window in found) == 400 * RATE
    assert all(SPEECH - 2 * PAD <= len(window.samples) <= WINDOW for window in found[:-1])


def test_what_is_cut_already_is_passed_on() -> None:
    sound = np.random.default_rng(1).random(45 * RATE, np.float32)
    everything = AllWindows(in_blocks(sound, 5_000))
    assert [(window.start_s, window.end_s) for window in everything] == [(0, 30), (30, 45)]
    assert everything.duration_s == 45


def test_nothing_at_all() -> None:
    nothing = VoicedWindows([])
    assert (list(nothing), nothing.duration_s) == ([], 0)
    assert list(AllWindows([np.empty(0, np.float32)])) == []


@pytest.mark.real
def test_ten_minutes_of_silence_are_no_window() -> None:
    quiet = VoicedWindows(silence(4) for _ in range(150))
    assert (list(quiet), quiet.duration_s) == ([], 600)


@pytest.mark.real
def test_a_voice_is_found_where_it_is() -> None:
    said = speech(STORY[0])
    (window,) = VoicedWindows([silence(130), said, silence(70)])
    assert window.start_s == pytest.approx(130, abs=0.6)
    assert window.end_s == pytest.approx(130 + len(said) / RATE, abs=0.6)


@pytest.mark.real
def test_windows_end_where_nobody_speaks() -> None:
    sound = talk(*STORY)
    for window in VoicedWindows(in_blocks(sound, 64_000)):
        edges = window.samples[: RATE // 50], window.samples[-RATE // 50 :]
        assert all(np.abs(edge).max() < 0.02 for edge in edges)
