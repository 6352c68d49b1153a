"""Where a job stands among others: its member's lane, weight and limits, as they are now."""

import msgspec

from api.front import Front
from familyai import keys
from familyai.job import Job
from familyai.lanes import Lane, hand
from familyai.members import Member


async def with_standing(front: Front, job: Job, member: Member) -> Job:
    """Raises redis-py's errors."""
    allowance = member.allowance(front.profile.roles)
    return msgspec.structs.replace(
        job,
        lane_number=member.lane if member.lane is not None else await _shared_lane(front, job, member),
        weight=allowance.weight,
        most_running=allowance.running or 0,
        shares_lane=member.lane is None,
    )


async def _shared_lane(front: Front, job: Job, member: Member) -> int:
    """Of the lanes in the member's hand the one in which the fewest wait."""
    fairness = front.profile.fairness
    numbers = hand(member.name, fairness.lanes, fairness.hand)
    pipe = front.redis.pipeline(transaction=False)
    for number in numbers:
        pipe.zcard(keys.waiting(Lane(job.queue, number, job.priority).name))
    waiting = await pipe.execute()
    return min(zip(waiting, numbers, strict=True))[1]
