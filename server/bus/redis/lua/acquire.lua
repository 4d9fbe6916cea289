-- Takes a lease that nobody has. KEYS: the lease. ARGV: process, milliseconds to live.
-- Gives its fence, microseconds since 1970: it grows even across a server that forgot everything.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local time = redis.call('TIME')
local fence = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. fence, 'PX', ARGV[2])
return fence
