-- Puts back what the shared indexes lost of a batch with open jobs (a key that a hand removed, a backup of half the keys),
-- a piece at a time: its places in the queue, its cancel, jobs that wait nowhere, jobs that run without a lease.
-- ARGV[4] batch  [5] state: queued or running  [6] rows above this one only  [7] jobs at most  [8] lease in ms
-- Returns {mended now, last row, looked at}. State change: none, but that a job without a whole record is failed.
local batch, state = ARGV[4], ARGV[5]
local s = steering(batch)
if not s or s.phase ~= 'sealed' then return {0, 0, 0} end
local time, last, mended = now(), tonumber(ARGV[6]), 0

-- Adds a member to a set, or a sorted set with a score, if it is not there.
local function keep(key, member, score)
  local args = score and {'ZADD', key, 'NX', score, member} or {'SADD', key, member}
  mended = mended + redis.call(unpack(args))
end

if s.cancelling then keep(ns .. 'cancelling', batch) end
for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do
  keep(ns .. 'queue_models', model)
  if not s.paused and not s.cancelling and redis.call('EXISTS', ready_key(batch, model)) == 1 then
    link(batch, model, s)
    keep(ns .. 'queue:' .. model, s.priority, -tonumber(s.priority))
  end
end

local rows = redis.call('ZRANGEBYSCORE', index_key(batch, state), '(' .. ARGV[6], '+inf', 'LIMIT', 0, ARGV[7])
for _, row in ipairs(rows) do
  local id = job_id(batch, row)
  local j = load_job(id)
  if not j or not has_model(batch, j.model) then
    write_off(id, time)
    mended = mended + redis.call('ZREM', index_key(batch, state), row) + 1
  elseif j.state ~= state then
    shift(batch, row, state, j.state)  -- its record is the truth
    mended = mended + 1
  elseif state == 'running' then
    keep(leases_key(j.model), id, time + ARGV[8])  -- its worker renews it, or it lapses
  elseif not s.cancelling and not redis.call('ZSCORE', ready_key(batch, j.model), row)
      and not redis.call('ZSCORE', dispatched_key(j.model), id) and not redis.call('ZSCORE', ns .. 'delayed', id) then
    make_ready(batch, row, j.model)
    mended = mended + 1
  end
  last = math.max(last, num(row))
end
return {mended, last, #rows}
