-- Notes that the manifest of a batch, as of one of its ends, is stored; a later end (after a retry) is still due. From now
-- on the batch may be forgotten.
-- ARGV[4] batch  [5] the end that the manifest tells of, in ms  [6] the revision that it tells of, '' for any
-- Returns 1 if nothing is due any more. No state change.
local due = redis.call('ZSCORE', ns .. 'finished', ARGV[4])
if due and tonumber(due) > tonumber(ARGV[5]) then return 0 end
local revision = redis.call('HGET', batch_key(ARGV[4]), 'revision')
if ARGV[6] ~= '' and num(revision) ~= tonumber(ARGV[6]) then return 0 end -- a picture was rated meanwhile
if redis.call('ZREM', ns .. 'finished', ARGV[4]) == 1 then redis.call('ZADD', ns .. 'concluded', due, ARGV[4]) end
return 1
