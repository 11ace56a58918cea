-- Queues the jobs of one terminal state of a batch again, a piece at a time in row order.
-- ARGV[4] batch  [5] state: failed or cancelled  [6] rows above this one only  [7] jobs at most
-- [8] jobs that the owner may have open, 0 for any number
-- Returns {queued now, last row, looked at}, or {-1, 0} if there is no such batch, {-2, 0} while it is being cancelled, or
-- {QUOTA, jobs open} if the rows from here on would be too many.
-- State change: failed | cancelled -> queued.
local batch, state = ARGV[4], ARGV[5]
local s = steering(batch)
if not s or s.phase ~= 'sealed' then return {-1, 0} end
if s.cancelling then return {-2, 0} end
local time, last = now(), tonumber(ARGV[6])
if exceeds(s.owner, redis.call('ZCOUNT', index_key(batch, state), '(' .. ARGV[6], '+inf'), ARGV[8]) then
  return {QUOTA, open_jobs_of(s.owner)}
end
local queued = 0
local rows = redis.call('ZRANGEBYSCORE', index_key(batch, state), '(' .. ARGV[6], '+inf', 'LIMIT', 0, ARGV[7])
for _, row in ipairs(rows) do
  local id = job_id(batch, row)
  local j = load_job(id)
  if j and j.state == state then
    retry(id, j, time)
    queued = queued + 1
  end
  last = math.max(last, num(row))
end
if queued > 0 then emit('batch.retried', batch, nil, 'count', queued) end
return {queued, last, #rows}
