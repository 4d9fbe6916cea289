-- Renews leases; one that was forgotten and that nobody else took is its holder's again.
-- ARGV: for each its key, its value (process and fence), milliseconds to live. Gives for each whether it is still held.
local answers = {}
for i = 1, #ARGV, 3 do
  local value = redis.call('GET', ARGV[i])
  if not value or value == ARGV[i + 1] then
    redis.call('SET', ARGV[i], ARGV[i + 1], 'PX', ARGV[i + 2])
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
return answers
