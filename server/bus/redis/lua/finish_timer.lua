-- Ends a timer that has fired, unless it was set again meanwhile. KEYS: timers, their data. ARGV: name, the claim.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  return 1
end
return 0
