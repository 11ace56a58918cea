-- Takes back what nobody holds any more: jobs whose lease ran out, calls that nobody claimed, back-offs that are over,
-- workers that vanished.
-- ARGV[4] ms after which an unclaimed call is forgotten  [5] losses at most  [6] jobs of each kind at most
-- [7] judge leases (1), or not (0: the server was away just now, and workers must first be able to renew)
-- [8] ms after which a worker that says nothing is forgotten  [9] lease in ms
-- Returns {{lost job ids}, {unclaimed job ids}}. State change: running -> queued | failed.
local time, limit = now(), ARGV[6]
local lost, unclaimed = {}, {}

-- Whether a worker lives and renews, and has not spoken of a job since its lease was last lengthened: then nobody died.
local function is_unheld(id, j, ends)
  local seen = tonumber(redis.call('ZSCORE', ns .. 'workers', j.worker or '') or 0)
  local told = ends - ARGV[9]
  if seen <= told or seen <= time - ARGV[9] / 2 then return false end
  return tonumber(redis.call('HGET', job_key(id), 'still') or 0) < told
end

for _, model in ipairs(redis.call('SMEMBERS', ns .. 'queue_models')) do
  local expired = {}
  if ARGV[7] == '1' then
    expired = redis.call('ZRANGEBYSCORE', leases_key(model), '-inf', time, 'WITHSCORES', 'LIMIT', 0, limit)
  end
  for at = 1, #expired, 2 do
    local id, ends = expired[at], tonumber(expired[at + 1])
    local j = load_job(id)
    if j and j.state == 'running' and is_unheld(id, j, ends) then
      let_lapse(id, j, time)
      lost[#lost + 1] = id
    elseif j and j.state == 'running' then
      lose(id, j, tonumber(ARGV[5]), 'the lease of worker ' .. (j.worker or '?') .. ' ran out', time)
      lost[#lost + 1] = id
    else
      redis.call('ZREM', leases_key(model), id)
    end
  end
  local old = time - ARGV[4]
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', dispatched_key(model), '-inf', old, 'LIMIT', 0, limit)) do
    redis.call('ZREM', dispatched_key(model), id)
    local j = load_job(id)
    if j and j.state == 'queued' then
      make_ready(j.batch, j.row, j.model)
      unclaimed[#unclaimed + 1] = id
      count('unclaimed')
    end
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ns .. 'delayed', '-inf', time, 'LIMIT', 0, limit)) do
  redis.call('ZREM', ns .. 'delayed', id)
  local j = load_job(id)
  if j and j.state == 'queued' then make_ready(j.batch, j.row, j.model) end
end
-- Workers whose machine vanished: their jobs went back long ago.
local vanished = redis.call('ZRANGEBYSCORE', ns .. 'workers', '-inf', time - ARGV[8], 'LIMIT', 0, limit)
for _, worker in ipairs(vanished) do
  redis.call('ZREM', ns .. 'workers', worker)
  redis.call('DEL', alone_key(worker), ns .. 'worker:' .. worker)
  redis.call('SREM', ns .. 'draining', worker)
end
return {lost, unclaimed}
