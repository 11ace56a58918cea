-- Cancels one job. One that is terminal stays as it is.
-- ARGV[4] job
-- Returns its state after the call, or '' if there is none. State change: queued | running -> cancelled.
local id = ARGV[4]
local j = load_job(id)
local s = j and is_sealed(j.batch)
if not s or s.phase ~= 'sealed' then return '' end
if j.state ~= 'queued' and j.state ~= 'running' then return j.state end
local time = now()
cancel(id, j, time)
emit('job.cancelled', j.batch, id)
conclude(j.batch, time)
return 'cancelled'
