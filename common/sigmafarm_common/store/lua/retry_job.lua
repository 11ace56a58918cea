-- Queues a failed or cancelled job again.
-- ARGV[4] job
-- Returns {1}, or {0, its state} if the move is not allowed, or {-1} if there is none.
-- State change: failed | cancelled -> queued.
local id = ARGV[4]
local j = load_job(id)
local s = j and steering(j.batch)
if not s or s.phase ~= 'sealed' then return {-1} end
if s.cancelling or (j.state ~= 'failed' and j.state ~= 'cancelled') then return {0, j.state} end
retry(id, j, now())
emit('job.queued', j.batch, id, 'why', 'retry')
return {1}
