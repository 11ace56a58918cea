-- Forgets a batch that was never sealed, a piece at a time.
-- ARGV[4] batch  [5] jobs, and uploads of its own, to let go of at most
-- Returns how many are left, 0 when all is gone, -1 if the batch is sealed. State change: unseen jobs cease to be.
local batch = ARGV[4]
local s = steering(batch)
if not s or s.phase == 'forgotten' then
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
left = release_uploads(batch, s.owner, tonumber(ARGV[5]) - #popped / 2)
if left > 0 then return left end
add_open_bytes(s.owner, redis.call('HGET', batch_key(batch), 'bytes'), -1)
erase(batch, s.owner)
redis.call('ZREM', ns .. 'open', batch)
return 0
