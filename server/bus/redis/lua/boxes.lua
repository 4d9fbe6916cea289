-- The names of a group's mailboxes. ARGV: base. Names whose mailbox has run out are cleared away.
local there = {}
for _, name in ipairs(redis.call('SMEMBERS', ARGV[1] .. 'boxes')) do
  if redis.call('EXISTS', ARGV[1] .. 'box:' .. name) == 1 then
    there[#there + 1] = name
  else
    redis.call('SREM', ARGV[1] .. 'boxes', name)
  end
end
return there
