"""From what came when to the few numbers that say how fair it was. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

PROMPT_COST, ANSWER_COST = 1, 2
"""As in a model's `costs`, where nothing else is said."""
Forecast = tuple[float, float]
"""What was said and what came, in seconds."""


@dataclass(frozen=True)
class Answer:
    """One answer: when it was asked for, when each of its words came, and how long its prompt was."""

    member: str
    sent_s: float
    word_times_s: Sequence[float]
    prompt_tokens: int

    @property
    def first_s(self) -> float:
        """From the question to the first word."""
        return self.word_times_s[0] - self.sent_s

    @property
    def lasted_s(self) -> float:
        """From the first word to the last."""
        return self.word_times_s[-1] - self.word_times_s[0]


@dataclass(frozen=True)
class Window:
    """A stretch of time in which everybody waited, and what was answered in it."""

    begin_s: float
    end_s: float

    def tokens(self, answers: Iterable[Answer]) -> int:
        """Words that came in it."""
        return sum(self._has(at_s) for answer in answers for at_s in answer.word_times_s)

    def service(self, answers: Iterable[Answer]) -> float:
        """What those words cost, and the prompts of answers that began in it."""
        answers = list(answers)
        prompts = sum(answer.prompt_tokens for answer in answers if self._has(answer.word_times_s[0]))
        return PROMPT_COST * prompts + ANSWER_COST * self.tokens(answers)

    def ended(self, answers: Iterable[Answer]) -> int:
        """Answers whose last word came in it."""
        return sum(self._has(answer.word_times_s[-1]) for answer in answers)

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s

    def _has(self, at_s: float) -> bool:
        return self.begin_s <= at_s < self.end_s


def jain(shares: Iterable[float]) -> float:
    """Jain's index: 1 when all got the same, 1/n when one of n got everything. Raises ValueError when nobody got any.

    R. Jain et al., "A Quantitative Measure of Fairness", DEC-TR-301, 1984.
    """
    got = list(shares)
    squares = sum(share * share for share in got)
    if not squares:
        raise ValueError("nobody got anything")
    return sum(got) ** 2 / (len(got) * squares)


def residual_s(lengths_s: Iterable[float]) -> float:
    """What a running job still takes, seen at any moment, on average: E[L²] / 2 E[L]. Raises ValueError."""
    lengths = list(lengths_s)
    if not sum(lengths):
        raise ValueError("no job took any time")
    return sum(length * length for length in lengths) / (2 * sum(lengths))


def within_factor(forecasts: Iterable[Forecast], factor: float) -> float:
    """The share of (forecast, truth) that differ by this factor at most. Raises ValueError without any."""
    pairs = list(forecasts)
    if not pairs:
        raise ValueError("nothing was forecast")
    return sum(truth / factor <= said <= truth * factor for said, truth in pairs) / len(pairs)


def relative(values: Sequence[float], base: Sequence[float]) -> float:
    """The median of the rounds' own ratios; NaN where there are none."""
    ratios = [value / other for value, other in zip(values, base, strict=False) if other]
    return median(ratios) if ratios else math.nan
