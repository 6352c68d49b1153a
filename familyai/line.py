"""The line of one queue as others see it: each waiting job's position, and when it will start. Pure.

The order of `familyai.fair` played forward over what waits now. Nobody knows who else will come, so a place is a
forecast: somebody who got less so far and asks later goes ahead.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from familyai.catalogue import Fairness
from familyai.fair import FairOrder, Ticket
from familyai.lanes import Priority, lane_named

OVERDUE = 0.25
"""Of what a job has taken, what it is expected to take still at least: the longer it is overdue, the less is known."""

_Standing = tuple[float, int, str]


class Running(Ticket, frozen=True, array_like=True):
    """A job that a worker has started: its ticket, then who and when, in Unix time."""

    worker: str = ""
    started_at_s: float = 0.0


class Line(msgspec.Struct, frozen=True):
    """What the broker knows of one queue. `seconds_per_cost` is measured; None before the first job has ended."""

    waiting: tuple[Ticket, ...]
    running: tuple[Running, ...]
    counters: dict[str, float]
    seconds_per_cost: float | None
    workers: int
    slots: int
    reserve_slots: int
    fairness: Fairness


class Place(msgspec.Struct, frozen=True):
    """`position` 1 is next. `eta_s` until it starts; None while nothing was measured or no worker lives."""

    position: int
    eta_s: float | None


def forecast(line: Line, now_s: float) -> dict[str, Place]:
    """Where every waiting job stands, by its id, in the order in which they will start.

    All workers together count as one large one; each place that is freed goes to the first lane of the order that has
    a waiting job, and within a lane to the oldest.
    """
    known = line.workers > 0 and line.seconds_per_cost is not None
    starts = _Play(line, now_s).starts()
    return {job: Place(position, at_s if known else None) for position, (job, at_s) in enumerate(starts, 1)}


def drain_s(line: Line, now_s: float, width: int = 1) -> float | None:
    """At most how long a job this wide would wait that came last, whichever lane it is of; None as in `Place`.

    Cheap, for admission without a forecast. While any job waits, fewer than its width are free of the places it may
    use, and those are never fewer than `slots`; so the others' work is done at that rate or faster.
    """
    if not line.workers or line.seconds_per_cost is None:
        return None
    pace = line.seconds_per_cost
    work = sum(min(job.width, line.slots) * _lasts_s(job, pace) for job in line.waiting)
    work += sum(min(job.width, line.slots) * _rest_s(job, pace, now_s) for job in line.running)
    widest = max([width, *(job.width for job in line.waiting)])
    return work / (line.workers * line.slots - min(widest, line.slots) + 1)


def _rest_s(job: Running, pace: float, now_s: float) -> float:
    elapsed_s = max(0.0, now_s - job.started_at_s)
    return max(_lasts_s(job, pace) - elapsed_s, OVERDUE * elapsed_s)


def _lasts_s(job: Ticket, pace: float) -> float:
    """A wide job's answers are made side by side."""
    return job.cost * pace / job.width


class _Taken(NamedTuple):
    """The places of a running job."""

    lane: str
    member: str
    width: int


class _Play:
    """A worker's own order, on a clock that jumps from one job's end to the next.

    Where a worker sorts its lanes anew for each job, this keeps them in a heap per priority: a lane's standing changes
    only when one of its own jobs starts.
    """

    def __init__(self, line: Line, now_s: float) -> None:
        workers = max(1, line.workers)
        self._pace = 1.0 if line.seconds_per_cost is None else line.seconds_per_cost
        self._slots = line.slots
        self._order = FairOrder(workers * line.slots, workers * line.reserve_slots, line.fairness)
        self._order.counters = dict(line.counters)
        self._passed_s, self._count = 0.0, 0
        self._ends: list[tuple[float, int, _Taken]] = []
        self._of_member: defaultdict[str, int] = defaultdict(int)
        for job in sorted(line.running, key=lambda job: job.started_at_s):
            self._take(job, 0.0, _rest_s(job, self._pace, now_s))
        self._looked_at: list[tuple[list[_Standing], _Standing]] = []
        self._lanes: dict[Priority, list[_Standing]] = {priority: [] for priority in Priority}
        self._queues: defaultdict[str, deque[Ticket]] = defaultdict(deque)
        for ticket in sorted(line.waiting, key=lambda ticket: ticket.created_at_s):
            self._queues[ticket.lane].append(ticket)
        for lane in self._queues:
            self._line_up(lane)

    def starts(self) -> Iterator[tuple[str, float]]:
        """Every waiting job's id, and in how many seconds it starts."""
        waiting = sum(map(len, self._queues.values()))
        while waiting:
            while lane := self._first():
                yield self._start(lane), self._passed_s
                waiting -= 1
            if waiting:
                self._passed_s, _, taken = heapq.heappop(self._ends)
                self._order.end(taken.lane, taken.width)
                self._of_member[taken.member] -= taken.width

    def _first(self) -> str | None:
        lane = next(self._order.allowed(self._by_standing), None)
        looked_at, self._looked_at = self._looked_at, []
        for heap, standing in looked_at:
            if standing[2] != lane:
                heapq.heappush(heap, standing)
        return lane

    def _by_standing(self, priority: Priority) -> Iterator[str]:
        heap = self._lanes[priority]
        while heap:
            standing = heapq.heappop(heap)
            self._looked_at.append((heap, standing))
            if not self._is_held(self._queues[standing[2]][0]):
                yield standing[2]

    def _is_held(self, job: Ticket) -> bool:
        """As many of its member's jobs run as may; those of other models are not seen here."""
        in_use = self._of_member[job.member]
        return 0 < job.most_running < in_use + job.width and in_use > 0

    def _start(self, lane: str) -> str:
        job = self._queues[lane].popleft()
        self._take(job, job.cost, _lasts_s(job, self._pace))
        if self._queues[lane]:
            self._line_up(lane)
        return job.job_id

    def _take(self, job: Ticket, cost: float, lasts_s: float) -> None:
        taken = _Taken(job.lane, job.member, min(job.width, self._slots))
        self._order.start(taken.lane, cost, job.weight, taken.width)
        self._of_member[taken.member] += taken.width
        self._count += 1
        heapq.heappush(self._ends, (self._passed_s + lasts_s, self._count, taken))

    def _line_up(self, lane: str) -> None:
        self._order.needs(lane, min(self._queues[lane][0].width, self._slots))
        heapq.heappush(self._lanes[lane_named(lane).priority], self._order.standing(lane))
