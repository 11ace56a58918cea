-- Cancels the queued and running jobs of a batch, a piece at a time; from the first piece on nothing of it is dispatched.
-- ARGV[4] batch  [5] jobs at most
-- Returns {cancelled now, left}, or {-1, 0} if there is no such batch. State change: queued | running -> cancelled.
local batch, limit = ARGV[4], tonumber(ARGV[5])
local s = steering(batch)
if not s or s.phase ~= 'sealed' then
  redis.call('SREM', ns .. 'cancelling', batch)
  return {-1, 0}
end
if not s.cancelling then
  unlink_all(batch)
  redis.call('HSET', batch_key(batch), 'cancelling', 1)
  redis.call('SADD', ns .. 'cancelling', batch)
end
local time, done = now(), 0
for _, state in ipairs({'queued', 'running'}) do
  for _, row in ipairs(redis.call('ZRANGE', index_key(batch, state), 0, limit - done - 1)) do
    local id = job_id(batch, row)
    local j = load_job(id)
    if not j then
      write_off(id, time)
      redis.call('ZREM', index_key(batch, state), row)  -- whatever the row is, it must not be met again
    elseif j.state ~= state then
      shift(batch, row, state, j.state)  -- its record is the truth
    else
      cancel(id, j, time)
    end
    done = done + 1
  end
  if done >= limit then break end
end
local left = redis.call('ZCARD', index_key(batch, 'queued')) + redis.call('ZCARD', index_key(batch, 'running'))
if left == 0 then
  redis.call('HDEL', batch_key(batch), 'cancelling')
  redis.call('SREM', ns .. 'cancelling', batch)
end
if done > 0 then
  emit('batch.cancelled', batch, nil, 'count', done)
  conclude(batch, time)
end
return {done, left}
