"""From what was measured to the few numbers that say it. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

KEEPS_PACE_S = 0.1
"""A stream keeps its pace while no word comes later than this, counted from its first word."""


@dataclass(frozen=True)
class Timing:
    """One short answer: its first byte or, of a stream, its first word; and its end."""

    first_s: float
    end_s: float


@dataclass(frozen=True)
class Load:
    """So many streams at once; `tokens_per_s` is the pace of each, None as fast as possible."""

    streams: int
    tokens: int
    tokens_per_s: float | None = None


@dataclass
class Run:
    """One load on one way, once or, added up, several times."""

    load: Load
    seconds: float = 0.0
    tokens: int = 0
    first_word_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds

    @property
    def keeping_pace(self) -> float:
        """The share of streams that kept their pace."""
        return sum(late <= KEEPS_PACE_S for late in self.late_s) / len(self.late_s)

    def cpu_s_per_1000_tokens(self) -> dict[str, float]:
        return {name: seconds / self.tokens * 1000 for name, seconds in self.cpu_s.items()}


def total(runs: Sequence[Run]) -> Run:
    """Several runs of one load as one."""
    added = Run(runs[0].load)
    for run in runs:
        added.seconds += run.seconds
        added.tokens += run.tokens
        added.first_word_s += run.first_word_s
        added.late_s += run.late_s
        for name, seconds in run.cpu_s.items():
            added.cpu_s[name] = added.cpu_s.get(name, 0.0) + seconds
    return added


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest rank: the smallest value that `percent` of all do not exceed. Raises ValueError without values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def latest_s(word_times: Sequence[float], tokens_per_s: float) -> float:
    """By how much the latest word missed the pace that the first one began."""
    begun = word_times[0]
    return max(at - (begun + index / tokens_per_s) for index, at in enumerate(word_times))


def tokens_each(streams: int, budget: int) -> int:
    """Words per stream, so that few streams and many write about as much: 40 at least, 10,000 at most."""
    return min(10_000, max(40, budget // streams))
