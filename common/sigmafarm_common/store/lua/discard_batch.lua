-- Forgets a batch that was never sealed, a piece at a time.
-- ARGV[4] batch  [5] jobs to remove at most
-- Returns the jobs that are left, 0 when all is gone, -1 if the batch is sealed. State change: unseen jobs cease to be.
local batch = ARGV[4]
local s = steering(batch)
if not s then
  redis.call('ZREM', ns .. 'open', batch)
  return 0
end
if s.phase == 'sealed' then return -1 end
local popped = redis.call('ZPOPMIN', index_key(batch, 'queued'), ARGV[5])
redis.call('HSET', batch_key(batch), 'phase', 'discarded')
for n = 1, #popped, 2 do
  local key = job_key(job_id(batch, popped[n]))
  redis.call('UNLINK', key, key .. ':request')
end
local left = redis.call('ZCARD', index_key(batch, 'queued'))
if left > 0 then return left end
local key = redis.call('HGET', batch_key(batch), 'key')
if key and key ~= '' then
  local name_key = idempotency_key(s.owner, key)
  if redis.call('GET', name_key) == batch then redis.call('DEL', name_key) end
end
for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do redis.call('UNLINK', ready_key(batch, model)) end
redis.call('UNLINK', batch_key(batch), models_key(batch))
redis.call('ZREM', ns .. 'open', batch)
return 0
