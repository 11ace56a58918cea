-- Pauses (or resumes) a batch: nothing of it is dispatched, and its running jobs are dropped at the next renewal.
-- ARGV[4] batch  [5] 1 to pause, 0 to resume
-- Returns 1, or 0 if there is no such batch. No state change here: workers release what they held.
local batch, paused = ARGV[4], ARGV[5]
local s = steering(batch)
if not s or s.phase ~= 'sealed' then return 0 end
if (paused == '1') == s.paused then return 1 end
if paused == '1' then unlink_all(batch) end
redis.call('HSET', batch_key(batch), 'paused', paused)
if paused == '0' then link_all(batch) end
touch(batch)
emit(paused == '1' and 'batch.paused' or 'batch.resumed', batch)
return 1
