"""One piece of work as a job at batch priority, tried until it has an answer."""

import asyncio
import logging
from collections.abc import Callable

from api.call import Answered, call
from api.front import Front
from familyai.errors import EngineFailed, LimitReached, RequestError, Unavailable
from familyai.job import Job

log = logging.getLogger(__name__)

FIRST_DELAY_S, LAST_DELAY_S = 0.5, 15.0
MOST_DEATHS = 5
"""So many workers may die over one piece of work; then it counts as what killed them."""
_FATAL = frozenset({"answer_too_large"})


class Dispatcher:
    """Never has more of a member's jobs in a line than the model has slots: a line does not hold whole archives, and
    one member's, whose limits may keep it from being begun, is nothing to the others. Pieces that wait for a place get
    it in the order in which they asked."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._places: dict[tuple[str, str], asyncio.Semaphore] = {}

    async def run(self, queue: str, member: str, make_job: Callable[[], Job]) -> Answered:
        """The engine's answer, whatever its status. Waits for as long as nobody can give one, or its member's
        limits keep it out; cancelling it ends that.

        `make_job` is asked anew for every try. Raises EngineFailed for what the engine, or five workers, died of, and
        other RequestErrors that trying again would not mend.
        """
        deaths, delay_s = 0, FIRST_DELAY_S
        slots = self._front.profile.model(queue).slots
        places = self._places.setdefault((queue, member), asyncio.Semaphore(slots))
        while True:
            try:
                async with places:
                    return await call(self._front, make_job())
            except (Unavailable, LimitReached) as error:
                deaths += error.code == "worker_lost"
                _check_hope(error, deaths)
                log.info("work is tried again", extra={"action": "work.again", "queue": queue, "reason": error.code})
            await asyncio.sleep(delay_s)
            delay_s = min(LAST_DELAY_S, delay_s * 2)


def _check_hope(error: RequestError, deaths: int) -> None:
    if error.code in _FATAL:
        raise error
    if deaths >= MOST_DEATHS:
        raise EngineFailed(f"{deaths} workers died while they worked on it", code="worker_lost") from error
