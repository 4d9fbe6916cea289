-- Posts, in order, to mailboxes of one slot (or of any, outside of a cluster).
-- ARGV: what channels of processes begin with, the longest entry that travels with its bell, then for each post the base
-- of its group's keys, the name of one mailbox or '', and the data.
-- Gives for each post how many mailboxes took it. One bell a process carries all that came for it.
local bells, processes = {}, {}

local function ring(process, text)
  local bell = bells[process]
  if not bell then
    bell = {}
    bells[process] = bell
    processes[#processes + 1] = process
  end
  bell[#bell + 1] = text
end

local function put(base, name, data)
  local box, stream = base .. 'box:' .. name, base .. 'in:' .. name
  local found = redis.call('HMGET', box, 'process', 'token', 'capacity')
  local process, token = found[1], found[2]
  if not token then
    return nil
  end
  local held = redis.call('XLEN', stream)
  if held >= tonumber(found[3]) then
    redis.call('DEL', box, stream)
    redis.call('SREM', base .. 'boxes', name)
    if process ~= '' then
      ring(process, 'L' .. token .. ' 0 0\n')
    end
    return 0
  end
  local seq = string.format('%.0f', redis.call('HINCRBY', box, 'last', 1))
  redis.call('XADD', stream, seq .. '-0', 'd', data)
  if held == 0 then
    redis.call('PEXPIRE', stream, redis.call('PTTL', box))
  end
  if process ~= '' then
    if #data <= tonumber(ARGV[2]) then
      ring(process, 'E' .. token .. ' ' .. seq .. ' ' .. #data .. '\n' .. data)
    else
      ring(process, 'S' .. token .. ' ' .. seq .. ' 0\n')
    end
  end
  return 1
end

local counts = {}
for i = 3, #ARGV, 3 do
  local base, name, data = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local count = 0
  if name ~= '' then
    count = put(base, name, data) or 0
  else
    for _, one in ipairs(redis.call('SMEMBERS', base .. 'boxes')) do
      local taken = put(base, one, data)
      if taken then
        count = count + taken
      else
        redis.call('SREM', base .. 'boxes', one)
      end
    end
  end
  counts[#counts + 1] = count
end
for _, process in ipairs(processes) do
  redis.call('PUBLISH', ARGV[1] .. process, table.concat(bells[process]))
end
return counts
