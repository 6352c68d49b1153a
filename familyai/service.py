"""What a queue's workers and fronts know of one another: the service each lane has had, and the line as it stands."""

from typing import cast

import msgspec
from redis.asyncio import Redis

from familyai import job_scripts, keys
from familyai.catalogue import Fairness, Model
from familyai.fair import Ticket
from familyai.line import Line, Running

_tickets = msgspec.json.Decoder(Ticket)
_running = msgspec.json.Decoder(Running)


class ServiceStore:
    """Raises redis-py's errors when the broker is gone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._exchange = redis.register_script(job_scripts.EXCHANGE)
        self._most_lanes = redis.register_script(job_scripts.MOST_LANES)

    async def exchange(self, queue: str, charged: dict[str, float]) -> dict[str, float]:
        """Adds what was charged, by lane; returns the counters of all lanes."""
        args = [item for lane, service in charged.items() for item in (lane, service)]
        flat = cast(list[bytes], await self._exchange([keys.service(queue)], args))
        return {lane.decode(): float(counter) for lane, counter in zip(flat[::2], flat[1::2], strict=True)}

    async def lane_count(self, count: int) -> int:
        """How many lanes to drain: `count`, or more when there once were more."""
        return int(await self._most_lanes([keys.LANE_COUNT], [count]))

    async def line(self, queue: str, model: Model, fairness: Fairness, workers: int) -> Line:
        """The queue's line in one round trip."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.hvals(keys.backlog(queue))
        pipe.hvals(keys.running(queue))
        pipe.zrange(keys.service(queue), 0, -1, withscores=True)
        pipe.hmget(keys.pace(queue), ["busy_s", "cost"])
        waiting, running, counters, (busy_s, cost) = await pipe.execute()
        return Line(
            waiting=tuple(_tickets.decode(ticket) for ticket in waiting),
            running=tuple(_running.decode(entry) for entry in running),
            counters={lane.decode(): counter for lane, counter in counters},
            seconds_per_cost=float(busy_s) / float(cost) if busy_s and float(cost or 0) else None,
            workers=workers,
            slots=model.slots,
            reserve_slots=model.reserve_slots,
            fairness=fairness,
        )

    async def forget_dead(self, queue: str, alive: set[str]) -> None:
        """Running jobs of workers that are no more: their fronts have told their clients."""
        entries = cast(dict[bytes, bytes], await self._redis.hgetall(keys.running(queue)))
        dead = [job for job, entry in entries.items() if _running.decode(entry).worker not in alive]
        if dead:
            await self._redis.hdel(keys.running(queue), *dead)
