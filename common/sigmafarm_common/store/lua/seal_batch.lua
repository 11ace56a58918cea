-- Accepts a batch: from here on it is listed and its jobs are dispatched. Saying it twice seals it once.
-- ARGV[4] batch  [5] jobs that the owner may have open with it, 0 for any number  [6] what is said of its rows
-- [7] what it is called if it has no name  [8] rows that were written to it, -1 where nobody counted
-- Returns {1}, or {0} if there is no such open batch, {-2, its rows} if they are not as many: the server has lost writes
-- meanwhile; or {QUOTA, jobs open, jobs of the batch, owner} if it would be too many: it
-- stays open, to be discarded. State change: none (its jobs are queued already).
local batch = ARGV[4]
local s = steering(batch)
if s and s.phase == 'sealed' then return {1} end
if not s or s.phase ~= 'open' then return {0} end
local time = now()
local f = redis.call('HMGET', batch_key(batch), 'created', 'queued')
local num_jobs = num(f[2])
if tonumber(ARGV[8]) >= 0 and num_jobs ~= tonumber(ARGV[8]) then return {-2, num_jobs} end
if exceeds(s.owner, num_jobs, ARGV[5]) then return {QUOTA, open_jobs_of(s.owner), num_jobs, s.owner} end
redis.call('HSET', batch_key(batch), 'phase', 'sealed', 'said', ARGV[6])
if ARGV[7] ~= '' then redis.call('HSET', batch_key(batch), 'title', ARGV[7]) end
redis.call('ZREM', ns .. 'open', batch)
f[1] = num(f[1])
redis.call('ZADD', ns .. 'batches', f[1], batch)
redis.call('ZADD', ns .. 'batches:' .. s.owner, f[1], batch)
add_to(ns .. 'open_jobs', s.owner, num_jobs)
for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do
  add_to(ns .. 'open_work', model, num(redis.call('HGET', batch_key(batch), 'open:' .. model)))
end
if num_jobs > 0 then count('submitted', num_jobs) end
link_all(batch)
emit('batch.submitted', batch)
conclude(batch, time)
return {1}
