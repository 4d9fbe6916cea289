-- Ends a reader's hold of its mailboxes.
-- ARGV: process, '1' to keep them collecting, then for each base, name, token, the seq up to which it is done with, note.
for i = 3, #ARGV, 5 do
  local box, stream = ARGV[i] .. 'box:' .. ARGV[i + 1], ARGV[i] .. 'in:' .. ARGV[i + 1]
  local found = redis.call('HMGET', box, 'process', 'token', 'ttl')
  if found[1] == ARGV[1] and found[2] == ARGV[i + 2] then
    if ARGV[2] == '1' then
      redis.call('XTRIM', stream, 'MINID', string.format('%.0f-0', ARGV[i + 3] + 1))
      redis.call('HSET', box, 'process', '', 'token', '0', 'note', ARGV[i + 4])
      redis.call('PEXPIRE', box, found[3])
      redis.call('PEXPIRE', stream, found[3])
    else
      redis.call('DEL', box, stream)
      redis.call('SREM', ARGV[i] .. 'boxes', ARGV[i + 1])
    end
  end
end
return 1
