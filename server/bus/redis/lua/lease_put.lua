-- Sets a key while a lease is held. KEYS: the lease, the key. ARGV: the lease's value, its milliseconds to live, the
-- key's value, its milliseconds to live. A lease that was forgotten and that nobody else took is its holder's again.
local value = redis.call('GET', KEYS[1])
if not value then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
elseif value ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1
