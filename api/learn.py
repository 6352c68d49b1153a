"""What is kept of a request while the household's router learns, should its member mark the chosen model as wrong."""

import asyncio
import logging

from api.choose import Asked
from api.front import Front
from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Prefer, Profile
from familyai.feedback import Routed
from familyai.job import Job
from routing.decide import NAMED, Decision
from routing.kept import kept
from routing.resolve import route_named
from routing.wished import NOTHING, wished

log = logging.getLogger(__name__)


async def seen(front: Front, asked: Asked, job: Job, decision: Decision) -> Routed | None:
    """None where nothing is to be kept: `learn` is off, the model was named, nobody is answered, it is too large."""
    if not front.profile.learn or decision.kind == NAMED or asked.path.endswith("/count_tokens"):
        return None
    request = await asyncio.to_thread(kept, asked.body) if asked.is_large else kept(asked.body)
    if request is None:
        return None
    return Routed(
        job_id=job.id,
        member=job.member,
        path=asked.path,
        chosen=decision.kind,
        queue=decision.target.queue,
        request=request,
        prefer=_preferred(asked, front.profile),
    )


async def remember(front: Front, routed: Routed) -> None:
    """Beside the answer, which does without it."""
    try:
        await front.feedback.remember(routed)
    except BROKER_ERRORS as error:
        extra = {"action": "route.not_kept", "job": routed.job_id, "reason": type(error).__name__}
        log.warning("a request cannot be marked", extra=extra)


def _preferred(asked: Asked, profile: Profile) -> Prefer | None:
    """What its header says, or else its route, where the body says nothing."""
    route = route_named(asked.body.get("model"), profile)
    usually = route.prefer if route and wished(asked.body, None) is NOTHING else None
    return asked.wishes.prefer or usually
