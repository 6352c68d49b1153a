"""What each member has under way: a reservation for every job, from before it enters until it has been charged.

So nothing is counted in neither place: tokens move from the reservation into the windows before the reservation goes.
Reservations that no job stands behind (a front that died before it enqueued, a worker that died for good) are dropped
when they would be in somebody's way.
"""

from dataclasses import dataclass

from redis.asyncio import Redis

from familyai import keys

WAITING, WAITING_BATCH, RUNNING = "w", "b", "r"
"""States of a reservation. Batch work waits apart: it is no part of what else a member may have waiting."""

LOST_AFTER_S = 10
KEPT_S = 24 * 3600

# The job records are read by names made here, which one server allows and a cluster would not.
_RESERVE = """
local in_flight = KEYS[1]
local id, state, width, tokens, cap, strict, records, lost_after, kept = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local own = redis.call('HGET', in_flight, id)
local own_at = own and tonumber(own:match('%S+$')) or math.huge

local function is_lost(other, at)
  if now - at < tonumber(lost_after) then return false end
  local state, ended = unpack(redis.call('HMGET', records .. other, 'state', 'ended_at_s'))
  if state == 'queued' or state == 'running' then return false end
  return not ended or now - ended >= tonumber(lost_after)
end

-- Widths that wait as this job does and tokens held back, of the jobs that came before it.
local function count(drops)
  local waiting, held, entries = 0, 0, redis.call('HGETALL', in_flight)
  for i = 1, #entries, 2 do
    local other, kind, wide, many, at = entries[i], entries[i + 1]:match('^(%l) (%d+) (%d+) (%d+%.?%d*)$')
    if other == id or not at then
      -- not before it, or of another version
    elseif drops and is_lost(other, tonumber(at)) then
      redis.call('HDEL', in_flight, other)
    elseif tonumber(at) <= own_at then
      held = held + many
      if kind == state then waiting = waiting + wide end
    end
  end
  return waiting, held
end

local function is_full(waiting)
  return not own and tonumber(cap) > 0 and waiting > 0 and waiting + width > tonumber(cap)
end

local waiting, held = count(strict == '1')
if is_full(waiting) and strict ~= '1' then waiting, held = count(true) end
if is_full(waiting) then return {0, waiting, held} end
if not own then
  redis.call('HSET', in_flight, id, state .. ' ' .. width .. ' ' .. tokens .. ' ' .. string.format('%.6f', now))
  redis.call('EXPIRE', in_flight, kept)
end
return {1, waiting, held}
"""


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

    async def release(self, member: str, job_id: str) -> None:
        """Takes the reservation back."""
        await self._redis.hdel(keys.in_flight(member), job_id)
