-- Sets or moves a timer. KEYS: timers, their data. ARGV: name, milliseconds from now, data, the channel of all.
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], 'W' .. ARGV[2])
return 1
