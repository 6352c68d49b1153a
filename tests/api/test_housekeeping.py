"""Lines that nobody else keeps in order any more."""

import time

from redis.asyncio import Redis

from familyai import keys
from familyai.jobs import Delivery
from tests.api.support import ScriptedWorker, Served
from tests.support import a_job


async def test_a_front_tidies_every_line(served: Served, worker: ScriptedWorker, redis: Redis) -> None:
    expired = a_job(queue="vectors", lane_number=5, created_at_s=time.time() - 1e6)
    lost = a_job(queue="chat", lane_number=6)
    for job in (expired, lost):
        await worker.jobs.enqueue(job)
    await worker.jobs.claim(Delivery(lost.id, lost.lane, lost.member), "chat", "a worker that is no more")
    await worker.jobs.cancel(lost.id)

    await served.front.housekeeping.tidy_up()

    assert not await redis.exists(keys.backlog("vectors"), keys.active("vectors"), keys.running("chat"))
    assert int(await redis.get(keys.LANE_COUNT)) == served.front.profile.fairness.lanes
