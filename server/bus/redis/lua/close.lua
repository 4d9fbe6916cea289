-- Ends a reader's hold of its mailbox. ARGV: base, name, process, token, '1' to keep it collecting.
local box, stream = ARGV[1] .. 'box:' .. ARGV[2], ARGV[1] .. 'in:' .. ARGV[2]
local found = redis.call('HMGET', box, 'process', 'token', 'ttl')
if found[1] ~= ARGV[3] or found[2] ~= ARGV[4] then
  return 0
end
if ARGV[5] == '1' then
  redis.call('HSET', box, 'process', '', 'token', '0')
  redis.call('PEXPIRE', box, found[3])
  redis.call('PEXPIRE', stream, found[3])
else
  redis.call('DEL', box, stream)
  redis.call('SREM', ARGV[1] .. 'boxes', ARGV[2])
end
return 1
