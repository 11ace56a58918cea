-- Notes that the manifest of a batch, as of one of its ends, is stored; a later end (after a retry) is still due.
-- ARGV[4] batch  [5] the end that the manifest tells of, in ms
-- Returns 1 if nothing is due any more. No state change.
local due = redis.call('ZSCORE', ns .. 'finished', ARGV[4])
if due and tonumber(due) > tonumber(ARGV[5]) then return 0 end
redis.call('ZREM', ns .. 'finished', ARGV[4])
return 1
