"""Lines are kept in order for those who cannot do it themselves any more: expired, or gone with their worker."""

import asyncio
import logging

from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Profile
from familyai.registry import WorkerRegistry
from familyai.service import ServiceStore

log = logging.getLogger(__name__)

INTERVAL_S = 60.0


class Housekeeping:
    """Every front does it; doing it twice changes nothing."""

    def __init__(self, service: ServiceStore, registry: WorkerRegistry, profile: Profile) -> None:
        self._service = service
        self._registry = registry
        self._profile = profile

    async def run(self) -> None:
        """Until cancelled. What the broker failed is done the next time."""
        while True:
            try:
                await self.tidy_up()
            except BROKER_ERRORS as error:
                log.warning("lines are not tidied", extra={"action": "lines.untidy", "reason": type(error).__name__})
            await asyncio.sleep(INTERVAL_S)

    async def tidy_up(self) -> None:
        """Raises redis-py's errors."""
        await self._service.lane_count(self._profile.fairness.lanes)
        alive = await self._registry.alive(list(self._profile.models))
        for queue, workers in alive.items():
            await self._service.forget_dead(queue, workers)
            await self._service.forget_expired(queue, self._profile.limits.record_ttl_s)
