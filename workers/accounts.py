"""What a job did take, in its model's units: for the fair order, its member's limits, and the family's books."""

import asyncio
import logging

from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Model, Task
from familyai.job import Job
from familyai.quota import Windows
from familyai.usage import UsageStore
from workers.meter import Meter

log = logging.getLogger(__name__)

TRIES = 20
RETRY_S = 0.5


class Accounts:
    """Of one model's jobs."""

    def __init__(self, model: Model, windows: Windows, usage: UsageStore) -> None:
        self._costs = model.costs
        self._unit = _unit(model)
        self._windows = windows
        self._usage = usage

    def service(self, meter: Meter) -> float:
        """What the job took so far, in units of the model's costs."""
        return self._costs.input * meter.prompt + self._costs.output * meter.generated

    async def settle(self, job: Job, meter: Meter) -> None:
        """Before the job ends: what it held back of its member's limits is not given back before this counts."""
        tokens = round(meter.prompt) + meter.generated if self._unit == "input_tokens" else 0
        for _ in range(TRIES):
            try:
                if tokens:
                    await self._windows.charge(job.member, tokens)
                await self._usage.add(job.member, job.model, self._units(job, meter))
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
