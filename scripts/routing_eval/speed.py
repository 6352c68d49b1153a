"""How long the router thinks, and whether it keeps any memory of it."""

import gc
import itertools
import math
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import routing
from familyai.catalogue import Prefer, Profile
from familyai.errors import RequestError
from familyai.heap import settle_heap
from routing.conversation import read
from routing.decide import decide
from routing.examples import Example

from .exam import ANYTHING, asked, preferred

ORDINARY_CHARACTERS = 4_000
LONG_CHARACTERS = 200_000
LIMITS_MS = 1.0, 5.0
"""For 99 of 100 of them: an ordinary request, and a long one."""
ROUNDS, LONG_ROUNDS = 5, 200
WARM_UP, DECISIONS, TRACED = 2_000, 20_000, 2_000

Asked = tuple[dict[str, Any], Prefer | None]


@dataclass(frozen=True)
class Timing:
    """In milliseconds, of so many decisions. `cpu`: of the thread's own; `wall`: with whatever else the machine did."""

    what: str
    decisions: int
    limit: float
    cpu_p50: float
    cpu_p99: float
    cpu_max: float
    wall_p50: float
    wall_p99: float


@dataclass(frozen=True)
class Growth:
    """After so many decisions, in kB: of the process, and of what Python still held of the last of them."""

    decisions: int
    rss_kb: float
    traced_decisions: int
    traced_kb: float


def requests(examples: Iterable[Example]) -> list[Asked]:
    return [(asked(example), preferred(example)) for example in examples]


def is_ordinary(example: Example) -> bool:
    conversation = read(example.body)
    return sum(len(turn.text) for turn in conversation.turns) + len(conversation.system) < ORDINARY_CHARACTERS


def long_requests() -> list[Asked]:
    """A question on 200 KB of code, each another: the router's own code, until that is long enough."""
    sources = [path.read_text("utf-8") for path in sorted(Path(routing.__file__).parent.glob("*.py"))]
    code = "".join(itertools.islice(itertools.cycle(sources), 200))[:LONG_CHARACTERS]
    return [(_about(code, number), None) for number in range(LONG_ROUNDS)]


def _about(code: str, number: int) -> dict[str, Any]:
    question = f"Review number {number}: what would you change first?\n\n```python\n{code}\n```"
    return {"model": "auto", "messages": [{"role": "user", "content": question}]}


def timing(what: str, asked: Sequence[Asked], limit: float, rounds: int, profile: Profile) -> Timing:
    """Every decision is timed alone, and all rounds count; the first few, which warm up, do not. The heap is frozen
    first, as the front's is."""
    settle_heap()
    for body, prefer in asked[:50]:
        _decide(body, prefer, profile)
    cpu_ns, wall_ns = [], []
    for body, prefer in itertools.chain.from_iterable(itertools.repeat(asked, rounds)):
        began_ns, began_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        _decide(body, prefer, profile)
        cpu_ns.append(time.thread_time_ns() - began_cpu_ns)
        wall_ns.append(time.perf_counter_ns() - began_ns)
    cpu = [percentile(cpu_ns, percent) / 1e6 for percent in (50, 99, 100)]
    return Timing(what, len(cpu_ns), limit, *cpu, *(percentile(wall_ns, percent) / 1e6 for percent in (50, 99)))


def growth(asked: Sequence[Asked], profile: Profile) -> Growth:
    """Counts after a collection, and after as many decisions as warm every cache there is."""
    decide_some = _decider(asked, profile)
    decide_some(WARM_UP)
    before = _rss()
    decide_some(DECISIONS)
    rss_kb = (_rss() - before) / 1000
    tracemalloc.start()
    try:
        decide_some(len(asked))
        before = _held()
        decide_some(TRACED)
        return Growth(DECISIONS, rss_kb, TRACED, (_held() - before) / 1000)
    finally:
        tracemalloc.stop()


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def _decider(asked: Sequence[Asked], profile: Profile) -> Callable[[int], None]:
    endless = itertools.cycle(asked)

    def some(count: int) -> None:
        for body, prefer in itertools.islice(endless, count):
            _decide(body, prefer, profile)

    return some


def _decide(body: dict[str, Any], prefer: Prefer | None, profile: Profile) -> None:
    try:
        decide(body, profile, ANYTHING, prefer=prefer)
    except RequestError:
        return


def _rss() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
