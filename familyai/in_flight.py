"""What each member has under way: a reservation for every job, from before it enters until it has been charged.

So nothing is counted in neither place: tokens move from the reservation into the windows before the reservation goes.
Reservations that no job stands behind (a front that died before it enqueued, a worker that died for good) are dropped
when they would be in somebody's way.
"""

import re
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis

from familyai import keys
from familyai.job import Job
from familyai.lanes import Priority

WAITING, WAITING_BATCH, RUNNING = "w", "b", "r"
"""States of a reservation. Batch work waits apart: it is no part of what else a member may have waiting."""

_ENTRY = re.compile(r"[a-z] \d+ (\d+) \S+")
LOST_AFTER_S = 10
KEPT_S = 24 * 3600

# The job records are read by names made here, which one server allows and a cluster would not.
_RESERVE = """
local in_flight = KEYS[1]
local id, state, width, tokens, cap, strict, records, lost_after, kept = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local own = redis.call('HGET', in_flight, id)

local function is_lost(other, at)
  if now - at < tonumber(lost_after) then return false end
  local state, ended = unpack(redis.call('HMGET', records .. other, 'state', 'ended_at_s'))
  if state == 'queued' or state == 'running' then return false end
  return not ended or now - ended >= tonumber(lost_after)
end

-- Widths that wait as this job does and tokens held back, of the jobs that came before it: those that are there when it
-- comes, and when it is counted again those that are no younger. Entries of another version do not count.
local waiting, held
local function add(entry)
  local kind, wide, many = entry:match('^(%l) (%d+) (%d+)')
  held = held + (many or 0)
  if kind == state then waiting = waiting + wide end
end

local function at(entry)
  return tonumber(entry:match('%d+%.?%d*$')) or 0
end

local function count()
  waiting, held = 0, 0
  for _, entry in ipairs(redis.call('HVALS', in_flight)) do add(entry) end
end

local function count_strictly()
  waiting, held = 0, 0
  local entries, own_at = redis.call('HGETALL', in_flight), own and at(own) or math.huge
  for i = 1, #entries, 2 do
    local other, entry = entries[i], entries[i + 1]
    if is_lost(other, at(entry)) and other ~= id then
      redis.call('HDEL', in_flight, other)
    elseif at(entry) <= own_at and other ~= id then
      add(entry)
    end
  end
end

local function is_full()
  return not own and tonumber(cap) > 0 and waiting > 0 and waiting + width > tonumber(cap)
end

if own or strict == '1' then count_strictly() else count() end
if is_full() then count_strictly() end
if is_full() then return {0, waiting, held} end
if not own then
  redis.call('HSET', in_flight, id, state .. ' ' .. width .. ' ' .. tokens .. ' ' .. string.format('%.6f', now))
  redis.call('EXPIRE', in_flight, kept)
end
return {1, waiting, held}
"""


def reservation(job: Job, now_s: float) -> str:
    """Of a job that waits again; "" for one of the front's own."""
    state = WAITING_BATCH if job.priority is Priority.BATCH else WAITING
    return f"{state} {job.width} {job.tokens} {now_s:.6f}" if job.member else ""


@dataclass(frozen=True)
class Before:
    """What a member had under way before a job: widths that waited as it does, tokens held back.

    `entered`: it has joined them.
    """

    entered: bool
    waiting: int
    tokens: int


class InFlight:
    """Every method raises one of BROKER_ERRORS when the broker is gone, and may be repeated."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._reserve = redis.register_script(_RESERVE)

    async def reserve(
        self, member: str, job_id: str, state: str, width: int, tokens: int, *, cap: int = 0, strict: bool = False
    ) -> Before:
        """Reserves for a job, unless the member then has more than `cap` in its state (0: any number).

        A job wider than the cap enters when nothing else waits. Repeated, it changes nothing, and counts again what
        came before. `strict` looks at every reservation whether its job lives; else that is done when the cap is hit.
        """
        args: list[str | int] = [job_id, state, width, tokens, cap, int(strict), keys.job(""), LOST_AFTER_S, KEPT_S]
        entered, waiting, held = await self._reserve(keys=[keys.in_flight(member)], args=args)
        return Before(bool(entered), waiting, held)

    async def tokens(self, member: str) -> int:
        """Held back for all that the member has under way."""
        entries = cast(list[bytes], await self._redis.hvals(keys.in_flight(member)))
        found = (_ENTRY.fullmatch(entry.decode()) for entry in entries)
        return sum(int(match[1]) for match in found if match)

    async def release(self, member: str, job_id: str) -> None:
        """Takes the reservation back."""
        await self._redis.hdel(keys.in_flight(member), job_id)
