"""How far a transcription job is. Pure: seconds of audio in, shares, percent and remaining time out."""

from collections.abc import Sequence
from dataclasses import dataclass

from familyai.transcription import Pace


@dataclass(frozen=True)
class Progress:
    """Seconds of audio; `total_s` is None until every recording's length is known."""

    done_s: float
    total_s: float | None
    percent: float
    eta_s: float | None


def shares_ms(ends_s: Sequence[float], duration_s: float) -> list[int]:
    """How much of a recording each window stands for: up to its end, from the end of the one before; the last to the
    recording's end. In whole milliseconds, whose sum is the recording's length."""
    ends_ms = [milliseconds(end_s) for end_s in ends_s[:-1]] + [milliseconds(duration_s)] * bool(ends_s)
    return [end - start for start, end in zip([0, *ends_ms], ends_ms, strict=False)]


def progress(done_ms: int, total_ms: int | None, pace: Pace | None, now_s: float) -> Progress:
    """`pace` is None while nothing is being recognised."""
    total_s = None if total_ms is None else total_ms / 1000
    percent = 0.0 if total_ms is None else round(100 * done_ms / total_ms, 1) if total_ms else 100.0
    return Progress(done_ms / 1000, total_s, percent, eta_s(done_ms, total_ms, pace, now_s))


def eta_s(done_ms: int, total_ms: int | None, pace: Pace | None, now_s: float) -> float | None:
    """What is left at the rate since the pace began; None while there is no rate."""
    if total_ms is None or pace is None or done_ms <= pace.done_ms or now_s <= pace.since_s:
        return None
    rate = (done_ms - pace.done_ms) / (now_s - pace.since_s)
    return round((total_ms - done_ms) / rate, 1)


def milliseconds(time_s: float) -> int:
    return round(time_s * 1000)
