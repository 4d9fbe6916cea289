-- Stops telling of a lease, unless somebody else has it by now. KEYS: leases, their fences. ARGV: group, fence.
if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  return 1
end
return 0
