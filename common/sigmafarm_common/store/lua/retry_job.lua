-- Queues a failed or cancelled job again.
-- ARGV[4] job  [5] jobs that the owner may have open, 0 for any number
-- Returns {1}, or {0, its state} if the move is not allowed, {-1} if there is none, or {QUOTA, jobs open, owner} if it would be
-- one too many.
-- State change: failed | cancelled -> queued.
local id = ARGV[4]
local j = load_job(id)
local s = j and is_sealed(j.batch)
if not s or s.phase ~= 'sealed' then return {-1} end
if s.cancelling or (j.state ~= 'failed' and j.state ~= 'cancelled') then return {0, j.state} end
if exceeds(s.owner, 1, ARGV[5]) then return {QUOTA, open_jobs_of(s.owner), s.owner} end
retry(id, j, now())
emit('job.queued', j.batch, id, 'why', 'retry')
return {1}
