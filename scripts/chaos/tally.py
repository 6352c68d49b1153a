"""What came of all requests so far: the few numbers that a run is about, and enough of a fault to find it again."""

from collections import Counter
from dataclasses import dataclass, field

from .questions import Question
from .transcript import Transcript
from .verdicts import Fault, Verdict

MOST_TOLD = 40
"""Faults of which the words are kept; all are counted."""


@dataclass(frozen=True)
class Gap:
    """The time for which a stream that went on was silent, by this machine's clock, and whose it was."""

    from_s: float = 0.0
    to_s: float = 0.0
    job_id: str = ""

    @property
    def seconds(self) -> float:
        return self.to_s - self.from_s


@dataclass
class Tally:
    """`begun_s`: on this machine's clock. `jobs`: every job that a client heard of. `resumed`: streams that went on
    over another connection."""

    begun_s: float
    requests: Counter[str] = field(default_factory=Counter)
    good: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[Fault] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    jobs: set[str] = field(default_factory=set)
    events: int = 0
    resumed: int = 0
    longest_gaps: dict[str, Gap] = field(default_factory=dict)

    def add(self, transcript: Transcript, verdict: Verdict) -> None:
        sort = transcript.question.sort
        self.requests[sort] += 1
        self.good[sort] += not verdict.faults and not verdict.error
        self.errors.update([verdict.error] if verdict.error else [])
        self.faults.update(verdict.faults)
        self.jobs.update([transcript.job_id] if transcript.job_id else [])
        self.events += len(transcript.events)
        self.resumed += transcript.connections > 1 and bool(transcript.events)
        if transcript.events:
            self.longest_gaps[sort] = max(
                self.longest_gaps.get(sort, Gap()), _gap(transcript), key=lambda gap: gap.seconds
            )
        if verdict.faults:
            self._tell(
                f"{_about(transcript.question)}: {', '.join(sorted(verdict.faults))} ({verdict.words})", transcript
            )

    def _tell(self, words: str, transcript: Transcript) -> None:
        if len(self.told) < MOST_TOLD:
            began_s, ended_s = transcript.began_s - self.begun_s, max(0.0, transcript.ended_s - self.begun_s)
            times = f"from {began_s:.1f} to {ended_s:.1f} s"
            self.told.append(f"{words}; job {transcript.job_id or 'unknown'}, {times}, ended {transcript.ended.name}")


def _gap(transcript: Transcript) -> Gap:
    return Gap(*transcript.longest_gap(), transcript.job_id)


def _about(question: Question) -> str:
    return f"{question.name}, {question.sort}{', detached' if question.detach else ''}"
