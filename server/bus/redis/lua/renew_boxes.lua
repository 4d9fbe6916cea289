-- Lets mailboxes live on whose readers do.
-- ARGV: process, then for each mailbox base, name, token, milliseconds to live from now.
-- Gives for each its last seq; -1: it is gone; -2: another reader has it.
local answers = {}
for i = 2, #ARGV, 4 do
  local base, name, expire = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3])
  local box = base .. 'box:' .. name
  local found = redis.call('HMGET', box, 'process', 'token', 'last')
  if not found[2] then
    answers[#answers + 1] = -1
  elseif found[1] ~= ARGV[1] or found[2] ~= ARGV[i + 2] then
    answers[#answers + 1] = -2
  else
    redis.call('PEXPIRE', box, expire)
    redis.call('PEXPIRE', base .. 'in:' .. name, expire)
    if redis.call('PTTL', base .. 'boxes') < expire then
      redis.call('SADD', base .. 'boxes', name)
      redis.call('PEXPIRE', base .. 'boxes', expire)
    end
    answers[#answers + 1] = tonumber(found[3])
  end
end
return answers
