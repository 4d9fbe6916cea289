-- Says when a lease runs out unless it is renewed. KEYS: leases, their fences.
-- ARGV: group, fence (0: of whoever may be about to get it, where none is known), milliseconds from now.
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known and (ARGV[2] == '0' or tonumber(known) > tonumber(ARGV[2])) then
  return 0
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
