-- Says when a lease runs out unless it is renewed. KEYS: leases. ARGV: group, milliseconds from now.
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'GT', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
return 1
