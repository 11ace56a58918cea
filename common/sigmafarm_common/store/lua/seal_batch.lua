-- Accepts a batch: from here on it is listed and its jobs are dispatched. Saying it twice seals it once.
-- ARGV[4] batch
-- Returns 1, or 0 if there is no such open batch. State change: none (its jobs are queued already).
local batch = ARGV[4]
local s = steering(batch)
if s and s.phase == 'sealed' then return 1 end
if not s or s.phase ~= 'open' then return 0 end
local time = now()
redis.call('HSET', batch_key(batch), 'phase', 'sealed')
redis.call('ZREM', ns .. 'open', batch)
local f = redis.call('HMGET', batch_key(batch), 'created', 'queued')
redis.call('ZADD', ns .. 'batches', f[1], batch)
redis.call('ZADD', ns .. 'batches:' .. s.owner, f[1], batch)
add_to(ns .. 'open_jobs', s.owner, tonumber(f[2]))
for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do
  add_to(ns .. 'open_work', model, tonumber(redis.call('HGET', batch_key(batch), 'open:' .. model) or 0))
end
if f[2] ~= '0' then count('submitted', f[2]) end
link_all(batch)
emit('batch.submitted', batch)
conclude(batch, time)
return 1
