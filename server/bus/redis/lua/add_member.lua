-- Adds to a set and lets it live on. KEYS: the set. ARGV: the member, milliseconds to live.
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
