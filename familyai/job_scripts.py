"""The steps of a job's life as Lua: each happens whole or not at all, and may be repeated.

A priority's name stands at the end of its lanes' names, but for interactive ones, whose lanes end with a number.
"""

# A job leaves the line: nobody waits for its turn any more. The last of its lane takes the lane along, and is
# remembered: a lane that comes to an empty line is lifted to its counter.
_LEAVE_LINE = """
local function leave_line(id, lane, waiting, backlog, active, pace)
  redis.call('ZREM', waiting, id)
  local ticket = redis.call('HGET', backlog, id)
  redis.call('HDEL', backlog, id)
  if redis.call('EXISTS', waiting) == 0 and redis.call('SREM', active, lane) == 1 then
    redis.call('HSET', pace, 'last ' .. (lane:match('%.(%l+)$') or 'interactive'), lane)
  end
  return ticket
end
"""

ENQUEUE = """
local record, waiting, list, backlog, active, service, pace, detached = unpack(KEYS)
local id, job, message, ticket, now, ttl_ms, most, queue, lane, member, model, front, path, streams = unpack(ARGV)

local function counter(of)
  return tonumber(redis.call('ZSCORE', service, of) or 0)
end

-- A lane that comes back from idle starts level with those that wait: idling earns no credit.
local function lift()
  local priority, least = lane:match('%.(%l+)$'), nil
  for _, other in ipairs(redis.call('SMEMBERS', active)) do
    if other:match('%.(%l+)$') == priority and (not least or counter(other) < least) then least = counter(other) end
  end
  local last = redis.call('HGET', pace, 'last ' .. (priority or 'interactive'))
  least = least or (last and counter(last))
  if least and least > counter(lane) then redis.call('ZADD', service, least, lane) end
end

if redis.call('EXISTS', record) == 1 then return 1 end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now - ttl_ms / 1000)) do
  redis.call('ZREM', waiting, old)
  redis.call('HDEL', backlog, old)
end
if redis.call('HLEN', backlog) >= tonumber(most) then return 0 end
if redis.call('SISMEMBER', active, lane) == 0 then lift() end
redis.call('HSET', record, 'job', job, 'state', 'queued', 'attempt', 0, 'queue', queue, 'lane', lane, 'member', member,
  'model', model, 'front', front, 'created_at_s', now, 'path', path, 'streams', streams)
redis.call('PEXPIRE', record, ttl_ms)
redis.call('ZADD', waiting, now, id)
redis.call('HSET', backlog, id, ticket)
redis.call('SADD', active, lane)
if front == '' then redis.call('ZADD', detached, now, id) end
redis.call('LPUSH', list, message)
return 1
"""
"""Returns 0 when the line is as long as it may be."""

# 'tail': behind the others of its lane, for it is new to the lane's list; 'head': it was its turn.
PUSH_AGAIN = """
local record, list = unpack(KEYS)
local message, where = unpack(ARGV)
if redis.call('HGET', record, 'state') == 'queued' then
  redis.call(where == 'head' and 'RPUSH' or 'LPUSH', list, message)
end
return 1
"""

CLAIM = (
    _LEAVE_LINE
    + """
local record, waiting, backlog, active, running, pace, in_flight = unpack(KEYS)
local id, lane, worker, now, ttl_ms, delivery, width, most_running, records = unpack(ARGV)

-- What of its member's runs already, in any queue. Entries that a dead process left behind do not count.
local function width_in_use()
  local sum, entries = 0, redis.call('HGETALL', in_flight)
  for i = 1, #entries, 2 do
    local wide = entries[i + 1]:match('^r (%d+) ')
    if wide and redis.call('HGET', records .. entries[i], 'state') == 'running' then sum = sum + wide end
  end
  return sum
end

local function start()
  redis.call('HINCRBY', record, 'attempt', 1)
  redis.call('HSET', record, 'state', 'running', 'worker', worker, 'claimed_at_s', now, 'delivery', delivery)
  redis.call('PEXPIRE', record, ttl_ms)
  local ticket = leave_line(id, lane, waiting, backlog, active, pace)
  if ticket then redis.call('HSET', running, id, ticket:sub(1, -2) .. ',"' .. worker .. '",' .. now .. ']') end
  local entry = redis.call('HGET', in_flight, id)
  if entry then redis.call('HSET', in_flight, id, 'r' .. entry:sub(2)) end
end

local state = redis.call('HGET', record, 'state')
if state == 'queued' then
  local in_use = tonumber(most_running) > 0 and width_in_use() or 0
  if in_use > 0 and in_use + width > tonumber(most_running) then return 'held' end
  start()
elseif state ~= 'running' or redis.call('HGET', record, 'delivery') ~= delivery then
  leave_line(id, lane, waiting, backlog, active, pace)
  return false
end
return redis.call('HMGET', record, 'job', 'attempt', 'past')
"""
)
"""Asked again by the delivery that won (its answer was lost on the way), it says the same. 'held': not now, for as many
of its member's jobs run as may."""

TAKE_BACK = """
local record, list, waiting, backlog, active, running, workers, in_flight, set_aside, log = unpack(KEYS)
local id, attempt, message, past, lane, ticket, reservation, most, now, ttl_ms, kept_s = unpack(ARGV)

local function is_alive(worker)
  local time, until_s = redis.call('TIME'), redis.call('ZSCORE', workers, worker)
  return until_s and tonumber(until_s) > time[1] + time[2] / 1e6
end

local function put_aside()
  redis.call('HSET', record, 'state', 'failed', 'ended_at_s', now)
  redis.call('HDEL', record, 'job', 'past')
  redis.call('PEXPIRE', record, kept_s * 1000)
  redis.call('HDEL', in_flight, id)
  redis.call('ZREMRANGEBYSCORE', set_aside, '-inf', now - kept_s)
  redis.call('ZADD', set_aside, now, id)
  return 'failed'
end

local function queue_again()
  redis.call('HSET', record, 'state', 'queued', 'past', past, 'queued_at_s', now)
  redis.call('HDEL', record, 'worker', 'delivery', 'claimed_at_s')
  redis.call('PEXPIRE', record, ttl_ms)
  redis.call('ZADD', waiting, now, id)
  redis.call('HSET', backlog, id, ticket)
  redis.call('SADD', active, lane)
  if reservation ~= '' then redis.call('HSET', in_flight, id, reservation) end
  redis.call('RPUSH', list, message)
  if redis.call('EXISTS', log) == 1 then redis.pcall('XADD', log, (attempt + 1) .. '-0', 'attempt', attempt + 1) end
  return 'queued'
end

local found = redis.call('HMGET', record, 'state', 'attempt', 'worker')
if found[1] ~= 'running' or found[2] ~= attempt or is_alive(found[3]) then return false end
redis.call('HDEL', running, id)
if tonumber(attempt) >= tonumber(most) then return put_aside() end
return queue_again()
"""
"""A job whose worker is no more waits again, at the head of its lane, for it was its turn; the claim counts the attempt
up. One that was begun `most` times is set aside. From here on its log takes nothing of the old attempt. Returns what it
is then, if this call made it so."""

CANCEL = (
    _LEAVE_LINE
    + """
local record, waiting, backlog, active, pace, in_flight = unpack(KEYS)
local id, lane, now, ttl_ms = unpack(ARGV)
local state = redis.call('HGET', record, 'state')
if state ~= 'queued' and state ~= 'running' then return false end
if state == 'queued' then
  leave_line(id, lane, waiting, backlog, active, pace)
  redis.call('HDEL', in_flight, id)
end
redis.call('HSET', record, 'state', 'cancelled', 'ended_at_s', now)
redis.call('HDEL', record, 'job', 'past')
redis.call('PEXPIRE', record, ttl_ms)
return state
"""
)
"""Returns the state it was in. What a running job held is given back by its worker, once it has been charged."""

FORGET_EXPIRED = (
    _LEAVE_LINE
    + """
local waiting, backlog, active, pace = unpack(KEYS)
local lane, before = unpack(ARGV)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', before)) do
  leave_line(id, lane, waiting, backlog, active, pace)
end
if redis.call('EXISTS', waiting) == 0 then redis.call('SREM', active, lane) end
return 1
"""
)

FINISH = """
local record, running, pace, in_flight = unpack(KEYS)
local id, state, now, attempt, ttl_ms, cost, busy_s = unpack(ARGV)
local OLDER = 0.95

local function keep_pace()
  for name, value in pairs({cost = cost, busy_s = busy_s}) do
    redis.call('HSET', pace, name, tonumber(redis.call('HGET', pace, name) or 0) * OLDER + value)
  end
end

local current = redis.call('HMGET', record, 'state', 'attempt')
if current[1] == 'queued' or (current[2] and current[2] ~= attempt) then return 0 end
redis.call('HDEL', running, id)
redis.call('HDEL', in_flight, id)
if current[1] ~= 'running' then return 0 end
if tonumber(busy_s) > 0 then keep_pace() end
redis.call('HSET', record, 'state', state, 'ended_at_s', now)
redis.call('HDEL', record, 'job', 'past')
redis.call('PEXPIRE', record, ttl_ms)
return 1
"""
"""Only the attempt that runs may end the job. A cancelled one has ended already and gives back what it held."""

EXCHANGE = """
local service, told = unpack(KEYS)
local number, ttl_s = unpack(ARGV)
if redis.call('GET', told) ~= number then
  for i = 3, #ARGV, 2 do redis.call('ZINCRBY', service, ARGV[i + 1], ARGV[i]) end
  redis.call('SET', told, number, 'EX', ttl_s)
end
return redis.call('ZRANGE', service, 0, -1, 'WITHSCORES')
"""
"""What a worker tells under one number counts once, however often it is told."""

MOST_LANES = """
local most = math.max(ARGV[1], redis.call('GET', KEYS[1]) or 0)
redis.call('SET', KEYS[1], most)
return most
"""
