"""What is left when everybody has gone: jobs that never ended, and what the broker still holds of jobs that did."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import cast

import orjson
from redis.asyncio import Redis

from familyai import keys
from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Profile
from familyai.lanes import lanes

from .doors import Doors, Refused

AT_ONCE = 16
POLL_S = 0.5
ENDS = ("done", "failed", "cancelled")


async def leaks(redis: Redis, profile: Profile, limit_s: float) -> dict[str, str]:
    """By key, what is there that should not be, once it has had so long to go. Raises BROKER_ERRORS."""
    deadline_s = time.monotonic() + limit_s
    while (found := await _found(redis, profile)) and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    return found


async def reservations(redis: Redis, members: Iterable[str]) -> dict[str, str]:
    """Those that no job stands behind any more, with its state. They go when they are in somebody's way
    (`familyai.in_flight`)."""
    found = {}
    for member in members:
        entries = cast(dict[bytes, bytes], await redis.hgetall(keys.in_flight(member)))
        for job_id, entry in entries.items():
            state = cast(bytes | None, await redis.hget(keys.job(job_id.decode()), "state")) or b"unknown"
            found[job_id.decode()] = f"{member} {entry.decode()}, {state.decode()}"
    return found


async def unended(doors: Doors, jobs: Iterable[str]) -> dict[str, str]:
    """By id, the state of each job that has not ended; `unknown` where nobody has heard of it. `doors`: an admin's."""
    several = asyncio.Semaphore(AT_ONCE)

    async def state(job_id: str) -> str:
        async with several:
            try:
                return str(orjson.loads(await doors.until_told(f"/v1/jobs/{job_id}"))["state"])
            except Refused as refused:
                return "unknown" if refused.status == 404 else refused.code

    found = list(jobs)
    states = await asyncio.gather(*(state(job_id) for job_id in found))
    return {job_id: state for job_id, state in zip(found, states, strict=True) if state not in ENDS}


async def listed(doors: Doors) -> list[str]:
    """Jobs that `GET /v1/jobs` still shows."""
    return [job["id"] for job in orjson.loads(await doors.until_told("/v1/jobs"))["data"]]


async def watch_memory(redis: Redis, seen: list[int], every_s: float = 1.0) -> None:
    """Adds the bytes that the broker uses to `seen`, again and again, until cancelled."""
    while True:
        with suppress(*BROKER_ERRORS):
            seen.append(int((await redis.info("memory"))["used_memory"]))
        await asyncio.sleep(every_s)


async def _found(redis: Redis, profile: Profile) -> dict[str, str]:
    names = [name for queue in profile.models for name in _of_queue(queue, profile.fairness.lanes)]
    names.append(keys.DETACHED)
    kinds = [cast(bytes, await redis.type(name)) for name in names]
    return {name: await _words(redis, name, kind) for name, kind in zip(names, kinds, strict=True) if kind != b"none"}


def _of_queue(queue: str, count: int) -> list[str]:
    named = [keys.running(queue), keys.backlog(queue), keys.active(queue)]
    named += [name for name in keys.unacked(queue).values() if "mutex" not in name]
    return named + [name for lane in lanes(queue, count) for name in (lane.name, keys.waiting(lane.name))]


async def _words(redis: Redis, name: str, kind: bytes) -> str:
    """How much of it there is, and its beginning."""
    entries: list[object]
    match kind:
        case b"list":
            entries = list(await redis.lrange(name, 0, -1))
        case b"hash":
            entries = list((await redis.hgetall(name)).items())
        case b"zset":
            entries = list(await redis.zrange(name, 0, -1))
        case _:
            entries = list(await redis.smembers(name))
    return f"{len(entries)}: {str(entries[:3])[:300]}"
