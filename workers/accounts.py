"""What a job did take, in its model's units: for the fair order, its member's limits, and the family's books."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Costs, Model, Task
from familyai.job import Job
from familyai.quota import Windows
from familyai.usage import UsageStore
from workers.meter import Meter

log = logging.getLogger(__name__)

TRIES = 20
RETRY_S = 0.5


class Bill:
    """What one delivery cost so far."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._assumed = 0.0
        self.tokens_assumed = 0
        self.meter = Meter()

    @property
    def service(self) -> float:
        """In units of the model's costs."""
        metered = self._costs.input * self.meter.prompt + self._costs.output * self.meter.generated
        return max(metered, self._assumed)

    def assume(self, job: Job) -> None:
        """It ran, and nobody knows for how much when its client left: so it counts as what was expected."""
        if not self.meter.prompt and not self.meter.generated:
            self._assumed, self.tokens_assumed = job.cost, job.tokens


class Accounts:
    """Of one model's jobs."""

    def __init__(self, model: Model, windows: Windows, usage: UsageStore) -> None:
        self._costs = model.costs
        self._unit = _unit(model)
        self._windows = windows
        self._usage = usage

    def open(self) -> Bill:
        return Bill(self._costs)

    async def settle(self, job: Job, bill: Bill) -> None:
        """Before the job ends: what it held back of its member's limits is not given back before this counts."""
        meter = bill.meter
        tokens = meter.prompt + meter.generated if self._unit == "input_tokens" else 0
        if tokens := max(tokens, bill.tokens_assumed):
            await self._tried(job, lambda: self._windows.charge(job.member, tokens))
        await self._tried(job, lambda: self._usage.add(job.member, job.model, self._units(job, meter)))

    async def _tried(self, job: Job, charge: Callable[[], Awaitable[None]]) -> None:
        """Each of the two by itself: one that failed must not have the other done twice."""
        for _ in range(TRIES):
            try:
                await charge()
                return
            except BROKER_ERRORS as error:
                reason = type(error).__name__
                log.warning("not charged yet", extra={"action": "job.uncharged", "job": job.id, "reason": reason})
                await asyncio.sleep(RETRY_S)

    def _units(self, job: Job, meter: Meter) -> dict[str, float]:
        units = {"requests": job.width, self._unit: meter.prompt, "output_tokens": meter.generated}
        return {unit: amount for unit, amount in units.items() if amount}


def _unit(model: Model) -> str:
    """What the meter counts of a request to it."""
    if Task.TRANSCRIBE in model.tasks:
        return "audio_seconds"
    return "characters" if Task.SPEAK in model.tasks else "input_tokens"
