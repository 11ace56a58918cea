-- Tells a worker to take no more jobs, or to take them again. From now on it is
-- granted none; within a second it leaves calls to others.
-- ARGV[4] worker  [5] 1 to drain, 0 to take jobs again
-- Returns 1, or 0 if there is no such worker. No state change.
if not redis.call('ZSCORE', ns .. 'workers', ARGV[4]) then return 0 end
redis.call(ARGV[5] == '1' and 'SADD' or 'SREM', ns .. 'draining', ARGV[4])
return 1
