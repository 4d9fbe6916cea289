-- Makes a reader of a mailbox; the former one is told.
-- ARGV: base, name, process, token, milliseconds to live, those until the first renewal must have come, capacity,
-- note of a new one, '1' to make one, what channels of processes begin with.
-- Gives whether it is new, its note, the last seq, how many entries wait, its time to live; or nothing if there is none.
-- Asked once more, because the answer got lost on the way, it gives the same.
local base, name, process, token, ttl, expire = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local box, stream, boxes = base .. 'box:' .. name, base .. 'in:' .. name, base .. 'boxes'
local opening = process .. ' ' .. token
local found = redis.call('HMGET', box, 'process', 'token', 'note', 'last', 'ttl', 'maker')
local fresh, note, last = found[6] == opening and 1 or 0, found[3], tonumber(found[4])
if not found[2] then
  if ARGV[9] ~= '1' then
    return false
  end
  fresh, note, last = 1, ARGV[8], 0
  redis.call('DEL', stream)
  redis.call('HSET', box, 'capacity', ARGV[7], 'note', note, 'last', 0, 'ttl', ttl, 'maker', opening)
  redis.call('SADD', boxes, name)
else
  ttl = found[5]
  if found[1] ~= '' and not (found[1] == process and found[2] == token) then
    redis.call('PUBLISH', ARGV[10] .. found[1], 'T' .. found[2] .. ' 0 0\n')
  end
end
redis.call('HSET', box, 'process', process, 'token', token)
redis.call('PEXPIRE', box, expire)
redis.call('PEXPIRE', stream, expire)
if redis.call('PTTL', boxes) < expire then
  redis.call('PEXPIRE', boxes, expire)
end
return {fresh, note, last, redis.call('XLEN', stream), ttl}
