-- Deletes a key that has this value. KEYS: the key. ARGV: the value. Gives whether it did.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
