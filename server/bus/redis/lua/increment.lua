-- Counts up; the counter vanishes some time after it was made. KEYS: the counter. ARGV: milliseconds to live.
local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return count
