"""Who is served next: whoever got least so far. Pure.

The Virtual Token Counter of "Fairness in Serving Large Language Models" (OSDI '24, arXiv 2401.00588), with two things
changed: a job is charged with its estimated cost when it starts and with the difference when it has ended (the paper
charges every token as it comes), and around the counters stand caps, priorities and widths.

Which lane starts a job, decided anew for every free place:

1. A priority that is owed as much as its last job took, the most owed first; then interactive, background, batch.
2. Within a priority the lane with the lowest counter; of equals the one that started least recently, then by name.
3. A lane number that would hold more than `slots` is left out; so is batch work once all of it holds `slots`.
4. A lane whose next job is wider than what is free ends the list: those behind it would keep it waiting for ever.

The bound. Let lanes f and g of one priority wait all the time, no cap holding them up. Whenever f starts a job, its
counter is at most g's. From then until f's next start, f gets at most that one job, and what its other running jobs
take beyond their estimates; g's counter is ahead of what g really got by what its running jobs are still to be
given. So with `s` places, prompts of at most P and answers of at most A tokens, estimates wrong by at most d, and w the
smaller weight, the service really delivered to f and to g, each divided by its weight, never differs by more than

    (in·P + s·out·A + (s - 1)·d) / w   <=   2·max(in·P, s·out·A) / w  +  (s - 1)·d / w

which is the paper's bound (theorem 4.4) and a settlement term. With several workers `s` counts all their places, and
each further worker adds one term: what it charged since it last told the others.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from familyai.catalogue import Fairness
from familyai.lanes import Priority, lane_named

_AS_DECLARED = tuple(Priority)
OF_LATE = 0.99
"""What is remembered of the largest job from one job to the next: half of it after 69."""


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """One waiting job, as the backlog keeps it. `cost` is an estimate, in the units of its model; of its member's jobs
    at most `most_running` run at once (0: any number)."""

    job_id: str
    lane: str
    member: str
    width: int
    cost: float
    weight: float
    created_at_s: float
    most_running: int = 0

    @property
    def service(self) -> float:
        """What its lane's counter grows by."""
        return self.cost / self.weight


class FairOrder:
    """The order in which one worker drains its lanes, and what it runs at the moment.

    `counters` is the normalised service of each lane, by name; a missing lane has had none. Whoever hears of other
    workers' service assigns it. `running` is the width in use, by lane. A width above `slots` counts as `slots`: such a
    job runs when nothing else of its member does.
    """

    def __init__(self, slots: int, reserve_slots: int, fairness: Fairness) -> None:
        self.counters: dict[str, float] = {}
        self.running: dict[str, int] = {}
        self._slots, self._free = slots, slots + reserve_slots
        self._by_number: dict[int, int] = {}
        self._by_batch = 0
        self._needs: dict[str, int] = {}
        self._offered: list[str] = []
        self._starts: dict[str, int] = {}
        self._count = 0
        self._shares = {Priority.BACKGROUND: fairness.background_share, Priority.BATCH: fairness.batch_share}
        self._owed = dict.fromkeys(self._shares, 0.0)
        self._last: dict[Priority, float] = {}
        self._own_largest: dict[Priority, float] = {}
        self._largest = 0.0

    def order(self, lanes: Iterable[str]) -> list[str]:
        """The lanes that may start a job now, first to be served first; none when no place is free."""
        if self._free <= 0:
            return []
        self._offered = self._ready(lanes)
        return self._offered[:]

    def could_start(self, lanes: Iterable[str]) -> bool:
        """Whether one of these lanes may start a job now: the same as a question, by one who will not act on it."""
        return self._free > 0 and bool(self._ready(lanes))

    def _ready(self, lanes: Iterable[str]) -> list[str]:
        by_priority: dict[Priority, list[str]] = {priority: [] for priority in Priority}
        for name in lanes:
            by_priority[lane_named(name).priority].append(name)
        return list(self.allowed(lambda priority: sorted(by_priority[priority], key=self.standing)))

    def allowed(self, sorted_lanes: Callable[[Priority], Iterable[str]]) -> Iterator[str]:
        """Rules 1, 3 and 4 over lanes that come sorted by `standing`; looks only as far as it is asked for more."""
        for priority in self.priorities():
            for name in sorted_lanes(priority):
                need = self._needs.get(name, 1)
                if self._by_number.get(lane_named(name).number, 0) + need > self._slots:
                    continue
                if priority is Priority.BATCH and self._by_batch + need > self._slots:
                    break  # all of batch: a narrow job that went ahead would keep the wide one waiting
                if need > self._free:
                    return
                yield name

    def priorities(self) -> tuple[Priority, ...]:
        """First to be served first: what has earned a job, the most owed first, then as they are declared."""
        owed = [priority for priority in self._shares if self._has_earned_a_job(priority)]
        if not owed:
            return _AS_DECLARED
        owed.sort(key=self._owed.__getitem__, reverse=True)
        return (*owed, *(priority for priority in Priority if priority not in owed))

    def _has_earned_a_job(self, priority: Priority) -> bool:
        """One as its last was; before its first, as the largest of anybody's."""
        owed = self._owed[priority]
        return self._shares[priority] > 0 and owed > 0 and owed >= self._last.get(priority, self._largest)

    def standing(self, lane: str) -> tuple[float, int, str]:
        """The lower, the sooner served, within a priority."""
        return self.counters.get(lane, 0.0), self._starts.get(lane, 0), lane

    def fits(self, lane: str, width: int) -> bool:
        """Whether a job this wide of this lane may start now, whoever else waits."""
        need, of = min(width, self._slots), lane_named(lane)
        within_batch = of.priority is not Priority.BATCH or self._by_batch + need <= self._slots
        return need <= self._free and within_batch and self._by_number.get(of.number, 0) + need <= self._slots

    def needs(self, lane: str, width: int) -> None:
        """The lane's next job turned out to be this wide.

        Forgotten when a job of the lane starts, or when one of a lane behind it does: then it had no job any more.
        """
        self._needs[lane] = min(width, self._slots)

    def start(self, lane: str, cost: float, weight: float, width: int) -> None:
        """Charges the estimate and takes the job's places."""
        self._size_up(lane_named(lane).priority, cost)
        self.charge(lane, cost, weight)
        self._take(lane, min(width, self._slots))
        self._forget_needs(lane)
        self._count += 1
        self._starts[lane] = self._count

    def charge(self, lane: str, cost: float, weight: float) -> None:
        """More service, or less, than what was charged: the difference at a job's end, or service as it grows."""
        self.counters[lane] = self.counters.get(lane, 0.0) + cost / weight
        self._settle_shares(lane_named(lane).priority, cost)

    def end(self, lane: str, width: int) -> None:
        """Gives the job's places back."""
        self._take(lane, -min(width, self._slots, self.running.get(lane, 0)))

    def _take(self, lane: str, width: int) -> None:
        of = lane_named(lane)
        self._free -= width
        self._by_number[of.number] = self._by_number.get(of.number, 0) + width
        if of.priority is Priority.BATCH:
            self._by_batch += width
        self.running[lane] = self.running.get(lane, 0) + width
        if not self.running[lane]:
            del self.running[lane]

    def _forget_needs(self, started: str) -> None:
        self._needs.pop(started, None)
        if self._needs and started in self._offered:
            for passed in self._offered[: self._offered.index(started)]:
                self._needs.pop(passed, None)

    def _size_up(self, priority: Priority, cost: float) -> None:
        """How large jobs are: of anybody's and of this priority's the largest of late, and this one."""
        self._largest = max(cost, OF_LATE * self._largest)
        self._own_largest[priority] = max(cost, OF_LATE * self._own_largest.get(priority, 0.0))
        self._last[priority] = cost

    def _settle_shares(self, served: Priority, cost: float) -> None:
        """Owed is share x all service - own service, but never more than about one job's worth either way.

        So a priority that idled comes back with one job's credit, and what the jobs of others may have earned it on top
        while it was kept waiting; one that had the machine to itself comes with one job's debt.
        """
        for priority, share in self._shares.items():
            owed = self._owed[priority] + share * cost - (cost if priority is served else 0)
            own = self._own_largest.get(priority, 0.0)
            credit = (own or self._largest) + 2 * share * self._largest
            self._owed[priority] = max(-own, min(credit, owed))


def lift(counter: float, waiting: Iterable[float], last: float) -> float:
    """A lane's counter when it waits again after it did not: idling earns nothing (algorithm 2 of the paper).

    `waiting` are the counters of the lanes of its priority that wait; when there are none, `last` counts: that of the
    lane last served. The script that enqueues does the same in the broker.
    """
    return max(counter, min(waiting, default=last))
