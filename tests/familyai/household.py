"""Workers that are played through, and lanes to play with."""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from hypothesis import strategies as st

from familyai.catalogue import Fairness
from familyai.fair import FairOrder
from familyai.lanes import Priority, lane_named, lanes

A, B, C = "chat.00", "chat.01", "chat.02"


SIDE = "chat.03.background"


BULK, MORE_BULK = "chat.04.batch", "chat.05.batch"


ALL = [A, B, C, SIDE, BULK, MORE_BULK]


def fair(slots: int = 4, reserve_slots: int = 1, background: float = 0, batch: float = 0) -> FairOrder:
    return FairOrder(slots, reserve_slots, Fairness(background_share=background, batch_share=batch))


def run(order: FairOrder, lane: str, cost: float, weight: float = 1) -> None:
    order.start(lane, cost, weight, width=1)
    order.end(lane, width=1)


# Played through: workers whose running jobs all get one token a second

IN, OUT = 1.0, 2.0


class Job(NamedTuple):
    prompt: int
    answer: int
    expected: int
    width: int = 1

    @property
    def cost(self) -> float:
        return IN * self.prompt + OUT * self.expected

    def given(self, seconds: int) -> float:
        """Service really delivered so long after its start: the prompt at once, then the answer, token by token."""
        return IN * self.prompt + OUT * min(seconds, self.answer)

    @property
    def difference(self) -> float:
        return self.given(self.answer) - self.cost


class Run(NamedTuple):
    end_s: int
    number: int
    worker: int
    lane: str
    job: Job


class Household:
    """Workers of one model, as they are meant to use the order. `play` stops after every start and before every end."""

    def __init__(self, workers: list[FairOrder], queues: dict[str, list[Job]], weights: dict[str, float]) -> None:
        self.workers, self.weights = workers, weights
        self.queues = {lane: deque(jobs) for lane, jobs in queues.items()}
        self.now_s, self.starts = 0, 0
        self.running: list[Run] = []
        self.ended: dict[str, float] = defaultdict(float)
        self.told: dict[str, float] = {}

    def play(self) -> Iterator[None]:
        for worker in range(len(self.workers)):
            yield from self.fill(worker)
        while self.running:
            run = self.running[0]
            self.now_s = run.end_s
            yield
            self.end(heapq.heappop(self.running))
            yield from self.fill(run.worker)

    def fill(self, worker: int) -> Iterator[None]:
        """Whenever a place may be free: take a job, learn its width, start it or put it back."""
        put_back = set()
        while lane := self.next_lane(worker):
            job = self.queues[lane].popleft()
            if not self.workers[worker].fits(lane, job.width):
                assert lane not in put_back, "offered again, though its width is known"
                put_back.add(lane)
                self.queues[lane].appendleft(job)
                self.workers[worker].needs(lane, job.width)
                continue
            self.starts += 1
            heapq.heappush(self.running, Run(self.now_s + job.answer, self.starts, worker, lane, job))
            self.workers[worker].start(lane, job.cost, self.weights[lane], job.width)
            yield

    def next_lane(self, worker: int) -> str | None:
        return next((lane for lane in self.workers[worker].order(self.queues) if self.queues[lane]), None)

    def end(self, run: Run) -> None:
        self.workers[run.worker].charge(run.lane, run.job.difference, self.weights[run.lane])
        self.workers[run.worker].end(run.lane, run.job.width)
        self.ended[run.lane] += run.job.given(run.job.answer)

    def service(self, lane: str) -> float:
        """Normalised, and true: what was delivered up to now."""
        under_way = (run.job.given(self.now_s - run.end_s + run.job.answer) for run in self.running if run.lane == lane)
        return (self.ended[lane] + sum(under_way)) / self.weights[lane]

    def untold(self, worker: int, lane: str) -> float:
        """What this worker charged since the workers last exchanged their counters."""
        return self.workers[worker].counters.get(lane, 0.0) - self.told.get(lane, 0.0)

    def exchange(self) -> None:
        workers = range(len(self.workers))
        self.told = {
            lane: self.told.get(lane, 0.0) + sum(self.untold(worker, lane) for worker in workers)
            for lane in self.queues
        }
        for worker in workers:
            self.workers[worker].counters = dict(self.told)


class Habits(NamedTuple):
    """How one lane asks: its longest prompts and answers, and how its answers are estimated."""

    prompt: int
    answer: int
    estimate: str
    weight: float

    def jobs(self, random: Random, count: int) -> list[Job]:
        return [self.job(random) for _ in range(count)]

    def job(self, random: Random) -> Job:
        prompt, answer = random.randint(1, self.prompt), random.choice((1, random.randint(1, self.answer), self.answer))
        guesses = {"exact": answer, "none": 0, "same": self.answer // 2, "random": random.randint(0, 2 * self.answer)}
        return Job(prompt, answer, guesses[self.estimate])


habits = st.builds(
    Habits,
    prompt=st.integers(1, 300),
    answer=st.integers(1, 150),
    estimate=st.sampled_from(["exact", "none", "same", "random"]),
    weight=st.sampled_from([0.5, 1.0, 1.5, 2.0, 4.0]),
)


def bound(slots: int, jobs: list[Job], weights: dict[str, float]) -> float:
    """The docstring's of `familyai.fair`, the sharper of the two: (in·P + s·out·A + (s - 1)·d) / w."""
    longest_prompt, longest_answer = (IN * max(job.prompt for job in jobs), OUT * max(job.answer for job in jobs))
    settlement = (slots - 1) * max(abs(job.difference) for job in jobs)
    sharp = longest_prompt + slots * longest_answer + settlement
    assert sharp <= 2 * max(longest_prompt, slots * longest_answer) + settlement
    return sharp / min(weights.values())


# Every lane, priority and width mixed

mixed_lanes = [lane.name for lane in lanes("chat", 4)]


mixed = st.lists(
    st.tuples(st.sampled_from(mixed_lanes), st.builds(Job, *[st.integers(1, 30)] * 3, width=st.integers(1, 7))),
    min_size=1,
    max_size=60,
)


def _by_lane(arrived: list[tuple[str, Job]]) -> dict[str, list[Job]]:
    return {lane: [job for other, job in arrived if other == lane] for lane in mixed_lanes}


def _of_number(order: FairOrder, lane: str) -> int:
    number = lane_named(lane).number
    return sum(width for name, width in order.running.items() if lane_named(name).number == number)


def _caps_hold(order: FairOrder, slots: int, reserve_slots: int) -> None:
    batch = [width for name, width in order.running.items() if lane_named(name).priority is Priority.BATCH]
    assert sum(order.running.values()) <= slots + reserve_slots
    assert max(_of_number(order, lane) for lane in mixed_lanes) <= slots
    assert sum(batch) <= slots
