-- Queues the jobs of one terminal state of a batch again, a piece at a time in row order.
-- ARGV[4] batch  [5] state: failed or cancelled  [6] rows above this one only  [7] jobs at most
-- Returns {queued now, last row}, or {-1, 0} if there is no such batch, or {-2, 0} while it is being cancelled.
-- State change: failed | cancelled -> queued.
local batch, state = ARGV[4], ARGV[5]
local s = steering(batch)
if not s or s.phase ~= 'sealed' then return {-1, 0} end
if s.cancelling then return {-2, 0} end
local time, last = now(), tonumber(ARGV[6])
local rows = redis.call('ZRANGEBYSCORE', index_key(batch, state), '(' .. ARGV[6], '+inf', 'LIMIT', 0, ARGV[7])
for _, row in ipairs(rows) do
  local id = job_id(batch, row)
  retry(id, load_job(id), time)
  last = tonumber(row)
end
if #rows > 0 then emit('batch.retried', batch, nil, 'count', #rows) end
return {#rows, last}
