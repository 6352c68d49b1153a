from hypothesis import given
from hypothesis import strategies as st

from familyai.transcription import Pace
from routing.progress import eta_s, progress, shares_ms


def test_a_window_stands_for_the_silence_before_it_and_the_last_for_the_rest() -> None:
    assert shares_ms([10.0, 45.5, 60.0], 100.0) == [10_000, 35_500, 54_500]


def test_without_windows_there_are_no_shares() -> None:
    assert shares_ms([], 36_000.0) == []


@given(st.lists(st.floats(0.0005, 30), min_size=1, max_size=50), st.floats(0, 100))
def test_the_shares_are_the_recording_to_the_millisecond(lengths: list[float], silence_s: float) -> None:
    ends_s = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    duration_s = ends_s[-1] + silence_s
    shares = shares_ms(ends_s, duration_s)
    assert sum(shares) == round(duration_s * 1000)
    assert len(shares) == len(lengths)
    assert min(shares) >= 0


def test_the_rest_takes_as_long_as_the_rate_says() -> None:
    assert eta_s(40_000, 100_000, Pace(since_s=1000, done_ms=10_000), now_s=1010) == 20.0


def test_there_is_no_eta_without_a_rate() -> None:
    pace = Pace(since_s=1000, done_ms=10_000)
    assert eta_s(10_000, 100_000, pace, now_s=1010) is None  # nothing done since
    assert eta_s(20_000, None, pace, now_s=1010) is None  # the whole is not known
    assert eta_s(20_000, 100_000, None, now_s=1010) is None  # nobody works on it
    assert eta_s(20_000, 100_000, pace, now_s=1000) is None  # no time has passed


def test_percent() -> None:
    assert progress(1, 3, None, 0).percent == 33.3
    assert progress(0, None, None, 0).percent == 0.0
    assert progress(0, 0, None, 0).percent == 100.0  # nothing to do is done
    assert progress(1500, 1500, None, 0).done_s == 1.5
