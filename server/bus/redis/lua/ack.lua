-- Entries that readers are done with, and their notes.
-- ARGV: process, then for each mailbox base, name, token, seq, note.
for i = 2, #ARGV, 5 do
  local box = ARGV[i] .. 'box:' .. ARGV[i + 1]
  local found = redis.call('HMGET', box, 'process', 'token')
  if found[1] == ARGV[1] and found[2] == ARGV[i + 2] then
    local seq = tonumber(ARGV[i + 3])
    if seq > 0 then
      redis.call('XTRIM', ARGV[i] .. 'in:' .. ARGV[i + 1], 'MINID', string.format('%.0f-0', seq + 1))
    end
    redis.call('HSET', box, 'note', ARGV[i + 4])
  end
end
return 1
