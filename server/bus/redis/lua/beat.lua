-- A process' heartbeat, and what it hears by it. Times are the server's, in milliseconds.
-- KEYS: epoch, processes, leases, their fences, timers, the timers' data.
-- ARGV: process, a new epoch, milliseconds after which a silent process is dead, those until a lease or timer that was
-- told is told again (two values), the channel of all, '1' to ring one's own bell, the own channel, how many lease prefixes,
-- the prefixes, how many timer kinds, the kinds, then group, fence and milliseconds to live of each lease that was
-- renewed.
-- Gives the epoch, leases that ran out, [name, data, claim] of timers that are due, and milliseconds to the next timer (-1).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local i = 9

local function list()
  local count, values = tonumber(ARGV[i]), {}
  for k = 1, count do
    values[k] = ARGV[i + k]
  end
  i = i + count + 1
  return values
end
local prefixes, kinds = list(), {}
for _, kind in ipairs(list()) do
  kinds[kind] = true
end

redis.call('SET', KEYS[1], ARGV[2], 'NX')
redis.call('ZADD', KEYS[2], now, ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
if #dead > 0 then
  redis.call('ZREM', KEYS[2], unpack(dead))
  redis.call('PUBLISH', ARGV[6], 'D')
end
if ARGV[7] == '1' then
  redis.call('PUBLISH', ARGV[8], 'P0 0 0\n')
end

while i < #ARGV do
  local known = redis.call('HGET', KEYS[4], ARGV[i])
  if not known or tonumber(known) <= tonumber(ARGV[i + 1]) then
    redis.call('ZADD', KEYS[3], now + ARGV[i + 2], ARGV[i])
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
  end
  i = i + 3
end
local ran_out = {}
for _, group in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 200)) do
  for _, prefix in ipairs(prefixes) do
    if string.sub(group, 1, #prefix) == prefix then
      redis.call('ZADD', KEYS[3], now + ARGV[4], group)
      redis.call('HSET', KEYS[4], group, -1)
      ran_out[#ran_out + 1] = group
      break
    end
  end
end

local due = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now, 'LIMIT', 0, 200)) do
  if kinds[string.match(name, '^[^:]*')] then
    redis.call('ZADD', KEYS[5], now + ARGV[5], name)
    local claim = redis.call('ZSCORE', KEYS[5], name)
    due[#due + 1] = {name, redis.call('HGET', KEYS[6], name) or '', claim}
  end
end
local next_timer = redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')
local wait = -1
if next_timer[2] then
  wait = math.max(0, math.ceil(next_timer[2] - now))
end
return {redis.call('GET', KEYS[1]), ran_out, due, wait}
