"""The lines as this front process sees them: where each waiting job stands, and whether one more gets its turn in time.

A view is at most `FRESH_S` old, or a little more while lines are very long; it is taken only when somebody asks, and
once for all who do. So positions cost the broker the same whether one client waits or a thousand.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import msgspec

from api.broker import broker_errors
from api.gate import in_words
from familyai.catalogue import Profile
from familyai.errors import LimitReached
from familyai.fair import Ticket, lift
from familyai.job import Job
from familyai.lanes import lane_named
from familyai.line import Line, Place, drain_s, forecast
from familyai.registry import WorkerRegistry
from familyai.service import ServiceStore

FRESH_S = 0.25
"""Whoever asks so long after a job was enqueued sees it."""
FORECASTS_SHARE = 0.05
"""Of one processor: forecasts that would take more are made less often."""
LONG = 100
"""Forecasts of longer lines are made beside the loop, on which everybody's answers travel."""
UNKNOWN_S = 60.0
NEWCOMER = ""

Places = dict[str, Place]


@dataclass
class _View:
    """A line as it was seen, and `joined` with those that this front let in since."""

    line: Line
    seen_at_s: float
    joined: Line = field(init=False)
    waiting: frozenset[str] = field(init=False)
    forecasts: dict[Hashable, asyncio.Future[Places]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.joined = self.line
        self.waiting = frozenset(ticket.job_id for ticket in self.line.waiting)


class Lines:
    """Every method raises Unavailable when the broker is down."""

    def __init__(
        self,
        service: ServiceStore,
        registry: WorkerRegistry,
        profile: Profile,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._registry = registry
        self._profile = profile
        self._clock = clock
        self._views: dict[str, _View] = {}
        self._looks: dict[str, asyncio.Task[_View]] = {}
        self._fresh_s = dict.fromkeys(profile.models, FRESH_S)

    def look(self, queue: str) -> None:
        """Begins to look, for somebody who is going to ask. Waits for nothing."""
        seen = self._views.get(queue)
        is_fresh = seen is not None and self._clock() - seen.seen_at_s < self._fresh_s[queue]
        if not is_fresh and queue not in self._looks:
            look = self._looks[queue] = asyncio.create_task(self._look(queue))
            look.add_done_callback(lambda done: self._end_look(queue, done))

    async def seen(self, queue: str) -> tuple[Line, Places]:
        """The line as it was a moment ago, and where everybody stood in it, by job, first to be served first."""
        view = await self._view(queue)
        return view.line, await self._places(queue, view)

    async def place(self, job_id: str, queue: str) -> Place | None:
        """None for a job that does not wait, or waits for less than `FRESH_S`."""
        if queue not in self._profile.models:
            return None
        view = await self._view(queue)
        return (await self._places(queue, view))[job_id] if job_id in view.waiting else None

    async def before(self, job: Job) -> Place:
        """Where a job would stand that is not enqueued yet."""
        view = await self._view(job.queue)
        ticket = msgspec.structs.replace(job.ticket, job_id=NEWCOMER)
        alike = (job.lane, job.width)  # when it starts does not depend on what it costs
        return (await self._forecast(job.queue, view, alike, _joined_by(view.joined, ticket)))[NEWCOMER]

    async def in_time(self, job: Job) -> bool:
        """Whether it may join, and begins within its deadline: whoever cannot be told how long it will be, does."""
        view = await self._view(job.queue)
        return len(view.joined.waiting) < self._profile.limits.waiting and await self._too_late_s(job, view) is None

    async def let_in(self, job: Job) -> None:
        """Counts it among those who wait. Raises LimitReached for a job that would wait longer than it may.

        Whoever cannot be told how long it will be, since nothing was measured yet or no worker lives, is let in.
        """
        view = await self._view(job.queue)
        if (eta_s := await self._too_late_s(job, view)) is not None:
            raise _too_late(eta_s, job.deadline_s)
        view.joined = _joined_by(view.joined, job.ticket)
        view.forecasts = {key: known for key, known in view.forecasts.items() if key is None}

    async def _too_late_s(self, job: Job, view: _View) -> float | None:
        """When it would begin, where that is after its deadline."""
        at_most_s = drain_s(view.joined, time.time(), job.width)
        if at_most_s is None or at_most_s <= job.deadline_s:
            return None
        eta_s = (await self.before(job)).eta_s
        return eta_s if eta_s is not None and eta_s > job.deadline_s else None

    async def full(self, queue: str) -> LimitReached:
        """For whoever finds the line as long as it may be: asking again may help once another job got its turn."""
        line = (await self._view(queue)).line
        all_s = drain_s(line, time.time())
        next_s = UNKNOWN_S if all_s is None else max(1.0, all_s / max(1, len(line.waiting)))
        words = f"Too many people are waiting for this model. Try again in {in_words(next_s)}."
        return LimitReached(words, code="line_too_long", retry_after_s=next_s)

    async def _view(self, queue: str) -> _View:
        self.look(queue)
        if (look := self._looks.get(queue)) is None:
            return self._views[queue]
        with broker_errors():
            return await asyncio.shield(look)

    async def _look(self, queue: str) -> _View:
        """Raises one of BROKER_ERRORS."""
        model, fairness, now_s = self._profile.models[queue], self._profile.fairness, self._clock()
        alive, line = await asyncio.gather(
            self._registry.alive([queue]), self._service.line(queue, model, fairness, workers=0)
        )
        running = tuple(job for job in line.running if job.worker in alive[queue])
        line = msgspec.structs.replace(line, workers=len(alive[queue]), running=running)
        view = self._views[queue] = _View(line, now_s)
        return view

    def _end_look(self, queue: str, look: asyncio.Task[_View]) -> None:
        del self._looks[queue]
        if not look.cancelled():
            look.exception()  # asked for, so that nobody logs it when all who waited have left

    def _places(self, queue: str, view: _View) -> asyncio.Future[Places]:
        return self._forecast(queue, view, None, view.line)

    def _forecast(self, queue: str, view: _View, key: Hashable, line: Line) -> asyncio.Future[Places]:
        """One for all who ask for the same; whoever stops waiting for it spoils it for nobody."""
        if key not in view.forecasts:
            view.forecasts[key] = self._played(queue, line)
        return asyncio.shield(view.forecasts[key])

    def _played(self, queue: str, line: Line) -> asyncio.Future[Places]:
        if len(line.waiting) > LONG:
            return asyncio.create_task(self._played_beside(queue, line))
        self._fresh_s[queue] = FRESH_S
        played = asyncio.get_running_loop().create_future()
        played.set_result(forecast(line, time.time()))
        return played

    async def _played_beside(self, queue: str, line: Line) -> Places:
        places, took_s = await asyncio.to_thread(timed_forecast, line)
        self._fresh_s[queue] = max(FRESH_S, took_s / FORECASTS_SHARE)
        return places


def timed_forecast(line: Line) -> tuple[Places, float]:
    """With the processor's time it took."""
    began_s = time.thread_time()
    return forecast(line, time.time()), time.thread_time() - began_s


def _joined_by(line: Line, ticket: Ticket) -> Line:
    """As the script that enqueues does it: a lane in which nobody waited is lifted to those in which somebody does."""
    counters, active = line.counters, {other.lane for other in line.waiting}
    if ticket.lane not in active:
        priority, own = lane_named(ticket.lane).priority, counters.get(ticket.lane, 0.0)
        alike = [counters.get(lane, 0.0) for lane in active if lane_named(lane).priority is priority]
        counters = counters | {ticket.lane: lift(own, alike, own)}
    return msgspec.structs.replace(line, waiting=(*line.waiting, ticket), counters=counters)


def _too_late(eta_s: float, deadline_s: float) -> LimitReached:
    again_s = max(1.0, eta_s - deadline_s)
    return LimitReached(
        f"The line is long: your turn would come in about {in_words(eta_s)}, and this question waits "
        f"{in_words(deadline_s)} at most. Try again in {in_words(again_s)}.",
        code="deadline",
        retry_after_s=again_s,
    )
