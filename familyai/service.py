"""What a queue's workers and fronts know of one another: the service each lane has had, and the line as it stands."""

import time
import uuid
from typing import Any, TypeVar, cast

import msgspec
from redis.asyncio import Redis

from familyai import job_scripts, keys
from familyai.catalogue import Fairness, Model
from familyai.fair import Ticket
from familyai.line import Line, Running

TOLD_S = 3600
"""So long a worker's last number is kept: longer than it goes on telling the same."""

_T = TypeVar("_T")
_tickets = msgspec.json.Decoder(Ticket)
_running = msgspec.json.Decoder(Running)


class ServiceStore:
    """Raises redis-py's errors when the broker is gone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._exchange = redis.register_script(job_scripts.EXCHANGE)
        self._forget_expired = redis.register_script(job_scripts.FORGET_EXPIRED)
        self._most_lanes = redis.register_script(job_scripts.MOST_LANES)

    async def exchange(
        self, queue: str, charged: dict[str, float], *, teller: str = "", number: int = 0
    ) -> dict[str, float]:
        """Adds what was charged, by lane; returns the counters of all lanes.

        What one teller tells again under the number that it used last counts once; number 0 tells nothing of that.
        """
        told = [item for lane, service in charged.items() for item in (lane, service)]
        args: list[Any] = [number or uuid.uuid4().hex, TOLD_S, *told]
        flat = cast(list[bytes], await self._exchange([keys.service(queue), keys.told(teller)], args))
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
            waiting=_readable(waiting, _tickets),
            running=_readable(running, _running),
            counters={lane.decode(): counter for lane, counter in counters},
            seconds_per_cost=float(busy_s) / float(cost) if busy_s and float(cost or 0) else None,
            workers=workers,
            slots=model.slots,
            reserve_slots=model.reserve_slots,
            fairness=fairness,
        )

    async def forget_dead(self, queue: str, alive: set[str]) -> None:
        """Ended jobs of workers that are no more run no longer, and hold nothing back of their members' limits.

        What has not ended stays listed, for fronts to take it back, or to withdraw it.
        """
        entries = cast(dict[bytes, bytes], await self._redis.hgetall(keys.running(queue)))
        running = [(job_id, _read(entry, _running)) for job_id, entry in entries.items()]
        lost = [(job_id, entry) for job_id, entry in running if entry is None or entry.worker not in alive]
        over = await self._ended([job_id.decode() for job_id, _ in lost])
        pipe = self._redis.pipeline(transaction=False)
        for job_id, entry in lost:
            if entry is None or job_id.decode() in over:
                pipe.hdel(keys.running(queue), job_id)
            if entry is not None and job_id.decode() in over:
                pipe.hdel(keys.in_flight(entry.member), job_id)
        await pipe.execute()

    async def _ended(self, job_ids: list[str]) -> set[str]:
        pipe = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hget(keys.job(job_id), "state")
        states = await pipe.execute()
        return {job_id for job_id, state in zip(job_ids, states, strict=True) if state not in (b"queued", b"running")}

    async def forget_expired(self, queue: str, record_ttl_s: float) -> None:
        """Waiting jobs whose records have expired leave the line: in a lane that is not used nobody else does it."""
        lanes = cast(set[bytes], await self._redis.smembers(keys.active(queue)))
        for lane in lanes:
            line = [keys.waiting(lane.decode()), keys.backlog(queue), keys.active(queue), keys.pace(queue)]
            await self._forget_expired(line, [lane, time.time() - record_ttl_s])


def _read(data: bytes, decoder: msgspec.json.Decoder[_T]) -> _T | None:
    """None for what another version wrote."""
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError:
        return None


def _readable(entries: list[bytes], decoder: msgspec.json.Decoder[_T]) -> tuple[_T, ...]:
    return tuple(entry for data in entries if (entry := _read(data, decoder)) is not None)
