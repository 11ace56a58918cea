-- Forgets the batch whose end is longest past, a piece at a time: records, indexes, history, idempotency key. From the
-- first piece on nobody sees it. Its pictures and its manifest stay: they are the user's.
-- ARGV[4] ms after its end  [5] jobs to remove at most
-- Returns {batch, jobs left}, or {} when none is due. State change: jobs in a terminal state cease to be.
local limit = tonumber(ARGV[5])
local due = redis.call('ZRANGEBYSCORE', ns .. 'concluded', '-inf', now() - ARGV[4], 'LIMIT', 0, 1)
local batch = due[1]
if not batch then return {} end
redis.call('ZREM', ns .. 'batches', batch)
local s, left = steering(batch), 0
if s then redis.call('ZREM', ns .. 'batches:' .. s.owner, batch) end
if s then redis.call('HSET', batch_key(batch), 'phase', 'forgotten') end
for _, state in ipairs({'succeeded', 'failed', 'cancelled'}) do
  local popped = limit > 0 and redis.call('ZPOPMIN', index_key(batch, state), limit) or {}
  for n = 1, #popped, 2 do
    local key = job_key(job_id(batch, popped[n]))
    redis.call('UNLINK', key, key .. ':request', key .. ':history')
  end
  limit = limit - #popped / 2
  left = left + redis.call('ZCARD', index_key(batch, state))
end
if left > 0 then return {batch, left} end
if s then erase(batch, s.owner) end
redis.call('ZREM', ns .. 'concluded', batch)
redis.call('ZREM', ns .. 'sweeps', batch)
return {batch, 0}
