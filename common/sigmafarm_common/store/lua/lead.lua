-- A keeper becomes or stays the leader, or steps down.
-- ARGV[4] keeper  [5] lease in ms, 0 to step down
-- Returns 1 if it leads now, else 0. No state change.
local key, keeper = ns .. 'keeper', ARGV[4]
local leader = redis.call('GET', key)
if leader and leader ~= keeper and redis.call('PTTL', key) >= 0 then return 0 end  -- a leader's word has an end
redis.call('DEL', key)
if ARGV[5] == '0' then return 0 end
redis.call('SET', key, keeper, 'PX', ARGV[5])
return 1
