-- Sets keys that are free, or renews them if they have this value. ARGV: value, milliseconds to live, the keys.
-- Gives the value that the last of them has now.
local current
for i = 3, #ARGV do
  current = redis.call('GET', ARGV[i])
  if not current or current == ARGV[1] then
    redis.call('SET', ARGV[i], ARGV[1], 'PX', ARGV[2])
    current = ARGV[1]
  end
end
return current
