-- Forgets batches whose end is longest past, a piece at a time: records, indexes, history, idempotency key. From the first
-- piece on nobody sees such a batch. Its pictures and its manifest stay: they are the user's.
-- ARGV[4] ms after its end  [5] jobs to remove at most; a batch counts as JOBS_PER_BATCH more
-- Returns {whether there may be more (1), batch gone whole, ...}. State change: jobs in a terminal state cease to be.
local limit, gone = tonumber(ARGV[5]), {0}

-- Removes jobs of a batch up to the limit, and returns how many are left.
local function remove_jobs(batch, owner)
  local left = 0
  for _, state in ipairs({'succeeded', 'failed', 'cancelled'}) do
    local popped = limit > 0 and redis.call('ZPOPMIN', index_key(batch, state), limit) or {}
    for n = 1, #popped, 2 do
      local id = job_id(batch, popped[n])
      local key, f = job_key(id), redis.call('HMGET', job_key(id), 'same', 'print')
      local name = f[1] and f[2] and f[1] .. ':' .. f[2]
      if name and redis.call('HGET', pictures_key(owner), name) == id then redis.call('HDEL', pictures_key(owner), name) end
      redis.call('UNLINK', key, key .. ':request', key .. ':history', key .. ':twins')
    end
    limit = limit - #popped / 2
    left = left + redis.call('ZCARD', index_key(batch, state))
  end
  return left
end

for _, batch in ipairs(redis.call('ZRANGEBYSCORE', ns .. 'concluded', '-inf', now() - ARGV[4], 'LIMIT', 0, BATCHES_PER_PIECE)) do
  if limit <= 0 then
    gone[1] = 1
    break
  end
  limit = limit - JOBS_PER_BATCH
  local s = steering(batch)
  redis.call('ZREM', ns .. 'batches', batch)
  if s then redis.call('ZREM', ns .. 'batches:' .. s.owner, batch) end
  if s then redis.call('HSET', batch_key(batch), 'phase', 'forgotten') end
  if remove_jobs(batch, s and s.owner or '') > 0 then
    gone[1] = 1
    break
  end
  local kept = release_uploads(batch, s and s.owner or '', limit)
  if kept > 0 then
    gone[1] = 1
    break
  end
  erase(batch, s and s.owner or '')
  redis.call('ZREM', ns .. 'concluded', batch)
  redis.call('ZREM', ns .. 'sweeps', batch)
  gone[#gone + 1] = batch
end
if #gone > BATCHES_PER_PIECE then gone[1] = 1 end
return gone
