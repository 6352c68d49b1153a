"""The fair order: its rules one by one, then the bound of the paper and what else must hold, played through."""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familyai.catalogue import Fairness
from familyai.fair import FairOrder, Ticket, lift
from familyai.lanes import Priority, lane_named, lanes

A, B, C = "chat.00", "chat.01", "chat.02"
SIDE = "chat.03.background"
BULK, MORE_BULK = "chat.04.batch", "chat.05.batch"
ALL = [A, B, C, SIDE, BULK, MORE_BULK]


def fair(slots: int = 4, reserve_slots: int = 1, background: float = 0, batch: float = 0) -> FairOrder:
    return FairOrder(slots, reserve_slots, Fairness(background_share=background, batch_share=batch))


def test_a_ticket_travels_as_an_array_and_knows_its_service() -> None:
    ticket = Ticket("job", A, "ada", width=2, cost=90, weight=3, created_at_s=1.5)
    assert ticket.service == 30


# Who is first


def test_least_service_is_first() -> None:
    order = fair()
    order.counters = {A: 30, B: 10}
    assert order.order([A, B, C]) == [C, B, A]


def test_a_start_is_charged_with_its_cost_over_its_weight() -> None:
    order = fair()
    order.start(A, cost=90, weight=3, width=1)
    order.start(B, cost=20, weight=1, width=1)
    assert order.counters == {A: 30, B: 20}
    assert order.order([A, B]) == [B, A]


def test_the_difference_is_settled_either_way() -> None:
    order = fair()
    order.start(A, cost=90, weight=3, width=1)
    order.charge(A, cost=-60, weight=3)
    order.charge(B, cost=15, weight=1)
    assert order.counters == {A: 10, B: 15}


def test_of_equals_the_one_that_started_least_recently_is_first_then_by_name() -> None:
    order = fair()
    assert order.order([C, B, A]) == [A, B, C]
    for lane in (B, A):
        order.start(lane, cost=0, weight=1, width=1)
    assert order.order([A, B, C]) == [C, B, A]


def test_other_workers_service_counts_when_it_is_heard_of() -> None:
    order = fair()
    order.start(A, cost=10, weight=1, width=1)
    order.counters = {A: 10, B: 50}
    assert order.order([A, B]) == [A, B]


# Priorities


def test_interactive_then_background_then_batch_whatever_they_had() -> None:
    order = fair()
    order.counters = {A: 1000, SIDE: 500}
    assert order.order([BULK, SIDE, A]) == [A, SIDE, BULK]


def test_who_has_earned_a_job_goes_first_the_most_owed_ahead() -> None:
    order = fair(background=0.1, batch=0.2)
    run(order, BULK, cost=20)
    run(order, SIDE, cost=20)
    assert order.order([A, BULK, SIDE]) == [A, SIDE, BULK]
    run(order, A, cost=180)  # batch is owed 20 by now, as much as its last job took
    assert order.order([A, BULK, SIDE]) == [BULK, A, SIDE]
    run(order, A, cost=200)
    assert order.order([A, BULK, SIDE]) == [BULK, SIDE, A]
    run(order, BULK, cost=70)
    assert order.order([A, BULK, SIDE]) == [SIDE, A, BULK]


def test_the_first_job_is_earned_like_the_largest_of_anybody() -> None:
    order = fair(batch=0.2)
    for _ in range(5):
        assert order.order([A, BULK]) == [A, BULK]
        run(order, A, cost=100)
    assert order.order([A, BULK]) == [BULK, A]


def test_owed_is_service_not_service_by_weight() -> None:
    order = fair(batch=0.2)
    run(order, BULK, cost=20)
    run(order, A, cost=180, weight=100)
    assert order.order([A, BULK]) == [BULK, A]


def test_what_was_charged_too_much_is_owed_again() -> None:
    order = fair(batch=0.2)
    run(order, BULK, cost=50)
    run(order, A, cost=250)
    assert order.order([A, BULK]) == [A, BULK]
    order.charge(BULK, cost=-50, weight=1)
    assert order.order([A, BULK]) == [BULK, A]


def test_without_a_share_batch_waits_even_after_it_was_charged_too_much() -> None:
    order = fair()
    for _ in range(3):
        order.start(BULK, cost=100, weight=1, width=1)
    for _ in range(3):
        order.charge(BULK, cost=-90, weight=1)
    assert order.order([A, BULK]) == [A, BULK]


def run(order: FairOrder, lane: str, cost: float, weight: float = 1) -> None:
    order.start(lane, cost, weight, width=1)
    order.end(lane, width=1)


def test_idling_earns_one_job_at_most() -> None:
    order = fair(batch=0.1)
    for _ in range(1000):
        run(order, A, cost=100)
    assert order.order([A, BULK]) == [BULK, A]
    run(order, BULK, cost=70)
    assert order.order([A, BULK]) == [A, BULK]


def test_a_giant_of_long_ago_earns_nobody_more() -> None:
    order = fair(batch=0.05)
    run(order, A, cost=400_000)
    for _ in range(1000):
        run(order, A, cost=300)
    ahead = 0
    while order.order([A, BULK])[0] == BULK:
        run(order, BULK, cost=300)
        ahead += 1
    assert ahead <= 2


def test_an_idle_machine_to_itself_costs_one_job_at_most() -> None:
    order = fair(batch=0.1)
    for _ in range(1000):
        run(order, BULK, cost=100)
    for _ in range(20):
        assert order.order([A, BULK]) == [A, BULK]
        run(order, A, cost=101)
    assert order.order([A, BULK]) == [BULK, A]


# Caps


def test_no_free_place_no_lane() -> None:
    order = fair(slots=2, reserve_slots=0)
    order.start(A, cost=1, weight=1, width=1)
    order.start(B, cost=1, weight=1, width=1)
    assert order.order(ALL) == []
    order.end(A, width=1)
    assert order.order([A, B]) == [A, B]


def test_a_lane_never_holds_the_reserve() -> None:
    order = fair(slots=2, reserve_slots=1)
    order.start(A, cost=1, weight=1, width=1)
    order.start(A, cost=1, weight=1, width=1)
    assert order.order([A, B]) == [B]
    assert not order.fits(A, 1)
    assert order.fits(B, 1)


def test_a_number_is_one_member_in_all_priorities() -> None:
    order = fair(slots=2, reserve_slots=1)
    order.start("chat.00", cost=1, weight=1, width=1)
    order.start("chat.00.batch", cost=1, weight=1, width=1)
    assert order.order(["chat.00", "chat.00.background", "chat.01"]) == ["chat.01"]
    assert not order.fits("chat.00.background", 1)


def test_batch_never_holds_the_reserve_however_many_lanes_it_has() -> None:
    order = fair(slots=2, reserve_slots=1)
    order.start(BULK, cost=1, weight=1, width=1)
    order.start(MORE_BULK, cost=1, weight=1, width=1)
    assert order.order(["chat.06.batch", SIDE, A]) == [A, SIDE]
    assert not order.fits("chat.06.batch", 1)
    order.end(BULK, width=1)
    assert order.order(["chat.06.batch", SIDE, A]) == [A, SIDE, "chat.06.batch"]


def test_running_is_the_width_in_use() -> None:
    order = fair()
    order.start(A, cost=1, weight=1, width=2)
    order.start(A, cost=1, weight=1, width=1)
    order.start(BULK, cost=1, weight=1, width=1)
    assert order.running == {A: 3, BULK: 1}
    order.end(A, width=2)
    order.end(BULK, width=1)
    assert order.running == {A: 1}


def test_an_end_gives_back_no_more_than_was_taken() -> None:
    order = fair(slots=2, reserve_slots=0)
    order.start(A, cost=1, weight=1, width=1)
    for _ in range(3):
        order.end(A, width=1)
    assert order.running == {}
    assert order.fits(A, 2)
    order.start(A, cost=1, weight=1, width=2)
    assert order.order([A, B]) == []


# Width


def test_a_wide_job_keeps_those_behind_it_from_overtaking() -> None:
    order = fair(slots=4, reserve_slots=0)
    order.start(C, cost=1, weight=1, width=2)
    order.counters = {A: 0, B: 5, C: 9}
    order.needs(A, 3)
    assert order.order([A, B, C]) == []
    order.counters[B] = -1
    assert order.order([A, B, C]) == [B]
    order.end(C, width=2)
    assert order.order([A, B, C]) == [B, A, C]


def test_a_lane_over_its_own_cap_holds_nobody_up() -> None:
    order = fair(slots=4, reserve_slots=1)
    order.start(A, cost=0, weight=1, width=2)
    order.needs(A, 3)
    assert order.order([A, B]) == [B]


def test_a_wide_batch_job_keeps_batch_from_overtaking_and_nobody_else() -> None:
    order = fair(slots=4, reserve_slots=2, batch=0.4)
    order.start(A, cost=10, weight=1, width=1)
    order.start(MORE_BULK, cost=1, weight=1, width=1)
    order.needs(BULK, 4)
    assert order.order([BULK, MORE_BULK, A]) == [A]
    order.end(MORE_BULK, width=1)
    assert order.order([BULK, MORE_BULK, A]) == [BULK, MORE_BULK, A]


def test_wider_than_ever_fits_counts_as_all_slots() -> None:
    order = fair(slots=4, reserve_slots=1)
    assert order.fits(A, 50)
    order.needs(A, 50)
    assert order.order([A, B]) == [A, B]
    order.start(A, cost=1, weight=1, width=50)
    assert order.running == {A: 4}
    assert order.order([A, B]) == [B]
    order.end(A, width=50)
    assert order.running == {}


def test_needs_are_forgotten_when_a_job_of_the_lane_starts() -> None:
    order = fair(slots=4, reserve_slots=0)
    order.needs(A, 4)
    order.start(A, cost=1, weight=1, width=1)
    assert order.order([A]) == [A]


def test_needs_are_forgotten_when_the_job_turns_out_to_be_gone() -> None:
    """Another worker took it: the lane was offered, it was empty, and a lane behind it started a job."""
    order = fair(slots=4, reserve_slots=0)
    order.needs(A, 4)
    order.counters = {B: 1, C: 2}
    assert order.order([A, B, C]) == [A, B, C]
    order.start(B, cost=5, weight=1, width=1)
    assert order.order([A, B, C]) == [A, C, B]


def test_needs_are_kept_while_the_lane_was_not_offered() -> None:
    order = fair(slots=4, reserve_slots=0)
    order.start(C, cost=5, weight=1, width=1)
    order.needs(A, 4)
    order.counters[B] = -1
    assert order.order([A, B, C]) == [B]
    order.start(B, cost=5, weight=1, width=1)
    assert order.order([A, B, C]) == []


# Back from idle


@pytest.mark.parametrize(
    ("counter", "waiting", "last", "lifted"),
    [
        (5, [20, 10, 30], 99, 10),
        (15, [20, 10, 30], 99, 15),
        (5, [], 40, 40),
        (50, [], 40, 50),
        (0, [0, 7], 40, 0),
    ],
)
def test_lift(counter: float, waiting: list[float], last: float, lifted: float) -> None:
    assert lift(counter, waiting, last) == lifted


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


@given(ada=habits, ben=habits, slots=st.integers(1, 6), random=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_two_lanes_that_wait_never_differ_by_more_than_the_bound(
    ada: Habits, ben: Habits, slots: int, random: Random
) -> None:
    queues, weights = {A: ada.jobs(random, 80), B: ben.jobs(random, 80)}, {A: ada.weight, B: ben.weight}
    household = Household([fair(slots, 0)], queues, weights)
    most = bound(slots, queues[A] + queues[B], weights)
    for _ in household.play():
        assert abs(household.service(A) - household.service(B)) <= most + 1e-6
        if not (household.queues[A] and household.queues[B]):
            return


@given(
    ada=habits,
    ben=habits,
    slots=st.integers(1, 3),
    workers=st.integers(2, 4),
    period_s=st.integers(1, 60),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_workers_that_exchange_counters_differ_by_what_each_further_one_did_not_tell(
    ada: Habits, ben: Habits, slots: int, workers: int, period_s: int, random: Random
) -> None:
    queues, weights = {A: ada.jobs(random, 120), B: ben.jobs(random, 120)}, {A: ada.weight, B: ben.weight}
    household = Household([fair(slots, 0) for _ in range(workers)], queues, weights)
    most, untold, exchanged_at_s = bound(workers * slots, queues[A] + queues[B], weights), 0.0, 0
    for _ in household.play():
        differences = [abs(household.untold(worker, A) - household.untold(worker, B)) for worker in range(workers)]
        untold = max(untold, *differences)
        assert abs(household.service(A) - household.service(B)) <= most + (workers - 1) * untold + 1e-6
        if household.now_s >= exchanged_at_s + period_s:
            household.exchange()
            exchanged_at_s = household.now_s
        if not (household.queues[A] and household.queues[B]):
            return


@given(ada=habits, ben=habits, slots=st.integers(1, 4), random=st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_idling_gains_nothing(ada: Habits, ben: Habits, slots: int, random: Random) -> None:
    """Ben comes and goes, Ada always waits: from the moment he is back he never gets more than twice the bound more.

    Once the bound for what he may be behind when he is lifted (what was charged for his running jobs and not yet
    delivered), once for what he may be ahead by in the end.
    """
    jobs, weights = {A: ada.jobs(random, 150), B: ben.jobs(random, 100)}, {A: ada.weight, B: ben.weight}
    order = fair(slots, 0)
    household = Household([order], {A: jobs[A], B: []}, weights)
    most, least_ahead = 2 * bound(slots, jobs[A] + jobs[B], weights), None
    for _ in household.play():
        if not household.queues[B] and random.random() < 0.1:
            order.counters[B] = lift(order.counters.get(B, 0.0), [order.counters.get(A, 0.0)], last=0.0)
            household.queues[B].extend(jobs[B][: random.randint(1, 20)])
        ahead = household.service(B) - household.service(A)
        if household.queues[B]:
            least_ahead = ahead if least_ahead is None else min(least_ahead, ahead)
        assert least_ahead is None or ahead - least_ahead <= most + 1e-6
        if not household.queues[A]:
            return


# Every lane, priority and width mixed

mixed_lanes = [lane.name for lane in lanes("chat", 4)]
mixed = st.lists(
    st.tuples(st.sampled_from(mixed_lanes), st.builds(Job, *[st.integers(1, 30)] * 3, width=st.integers(1, 7))),
    min_size=1,
    max_size=60,
)


@given(mixed, st.integers(1, 5), st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_every_job_is_served_and_no_place_idles_while_one_may_start(
    arrived: list[tuple[str, Job]], slots: int, reserve_slots: int
) -> None:
    order = fair(slots, reserve_slots, background=0.1, batch=0.05)
    household = Household([order], _by_lane(arrived), dict.fromkeys(mixed_lanes, 1.0))
    for _ in household.play():
        _caps_hold(order, slots, reserve_slots)
        heads = {lane: min(waiting[0].width, slots) for lane, waiting in household.queues.items() if waiting}
        if not household.next_lane(0) and any(order.fits(lane, width) for lane, width in heads.items()):
            assert any(
                width > 1 and not order.fits(lane, width) and _of_number(order, lane) + width <= slots
                for lane, width in heads.items()
            ), "no wide job is waited for, and a job that fits does not start"
    assert household.starts == len(arrived)
    assert order.running == {}


@given(mixed, st.integers(1, 5), st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_among_narrow_jobs_no_place_idles_at_all(
    arrived: list[tuple[str, Job]], slots: int, reserve_slots: int
) -> None:
    order = fair(slots, reserve_slots, background=0.1, batch=0.05)
    narrow = [(lane, job._replace(width=1)) for lane, job in arrived]
    household = Household([order], _by_lane(narrow), dict.fromkeys(mixed_lanes, 1.0))
    for _ in household.play():
        if not household.next_lane(0):
            assert not any(order.fits(lane, 1) for lane, waiting in household.queues.items() if waiting)


@given(mixed, st.sampled_from(mixed_lanes), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2))
def test_a_lane_alone_is_offered_exactly_when_its_job_fits(
    arrived: list[tuple[str, Job]], lane: str, width: int, slots: int, reserve_slots: int
) -> None:
    order = fair(slots, reserve_slots)
    for other, job in arrived:
        if order.fits(other, job.width):
            order.start(other, job.cost, 1.0, job.width)
    order.needs(lane, width)
    assert (order.order([lane]) == [lane]) == order.fits(lane, width)


def test_a_wide_job_starts_though_narrow_ones_never_end_coming() -> None:
    queues = {A: [Job(1, 5 + number % 3, 5) for number in range(300)], B: [Job(1, 5, 5, width=4)]}
    household = Household([fair(4, 0)], queues, {A: 1.0, B: 1.0})
    for _ in household.play():
        if not household.queues[B]:
            break
    assert household.starts <= 8


# Shares


@given(
    order=st.sampled_from([(0.1, 0.05), (0.3, 0.4), (0.0, 0.2), (0.4, 0.0), (0.05, 0.05)]),
    slots=st.integers(1, 6),
    sizes=st.tuples(*[st.integers(1, 200)] * 3),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_background_and_batch_get_their_share_of_a_busy_model_within_two_jobs(
    order: tuple[float, float], slots: int, sizes: tuple[int, int, int], random: Random
) -> None:
    """As charged, all three waiting: never more than two jobs below the share, never more than one above it."""
    waiting = [A, SIDE, BULK]
    shares = dict(zip(waiting[1:], order, strict=True))
    answers = {lane: [random.randint(1, size) for _ in range(300)] for lane, size in zip(waiting, sizes, strict=True)}
    queues = {lane: [Job(1, answer, answer) for answer in answers[lane]] for lane in waiting}
    largest = max(job.cost for lane in waiting for job in queues[lane])
    served = fair(slots, 0, background=order[0], batch=order[1])
    household = Household([served], queues, dict.fromkeys(waiting, 1.0))
    for _ in household.play():
        everything = sum(served.counters.values())
        for lane, share in shares.items():
            assert (
                -largest - 1e-6 <= share * everything - served.counters.get(lane, 0.0) <= 2 * largest + 1e-6
                or not share
            )
            assert share or lane not in served.counters
        if not all(household.queues.values()):
            return


def test_shares_hold_in_the_long_run_with_estimates_that_are_wrong() -> None:
    random = Random(7)  # noqa: S311
    lanes_of = {lane: Habits(50, 100, "random", 1.0).jobs(random, 4000) for lane in (A, SIDE, BULK)}
    household = Household([fair(4, 1, background=0.2, batch=0.1)], lanes_of, dict.fromkeys(lanes_of, 1.0))
    for _ in household.play():
        if not all(household.queues.values()):
            break
    everything = sum(household.service(lane) for lane in lanes_of)
    assert household.service(SIDE) / everything == pytest.approx(0.2, abs=0.02)
    assert household.service(BULK) / everything == pytest.approx(0.1, abs=0.02)


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
