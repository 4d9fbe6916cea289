-- Takes a lease that nobody has. KEYS: the lease. ARGV: holder, milliseconds to live.
-- Gives its fence, microseconds since 1970: it grows even across a server that forgot everything. The same holder, which
-- asks once more because the answer got lost on the way, gets the same.
local value = redis.call('GET', KEYS[1])
if value then
  local holder, fence = string.match(value, '^(.*) (%d+)$')
  if holder ~= ARGV[1] then
    return false
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return fence
end
local time = redis.call('TIME')
local fence = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. fence, 'PX', ARGV[2])
return fence
