-- Takes back what nobody holds any more: jobs whose lease ran out, calls that nobody claimed, back-offs that are over,
-- workers that vanished; a piece at a time.
-- ARGV[4] ms after which an unclaimed call is forgotten  [5] losses at most  [6] entries to take back at most
-- [7] judge leases (1), or not (0: the server was away just now, and workers must first be able to renew)
-- [8] ms after which a worker that says nothing is forgotten  [9] lease in ms
-- Returns {{lost job ids}, {unclaimed job ids}, whether there may be more (1)}. State change: running -> queued | failed.
local time, left = now(), tonumber(ARGV[6])
local lost, unclaimed = {}, {}

-- The members of an index that are due, with their times, as far as this piece goes.
local function due(key, until_ms)
  local found = left > 0 and redis.call('ZRANGEBYSCORE', key, '-inf', until_ms, 'WITHSCORES', 'LIMIT', 0, left) or {}
  left = left - #found / 2
  local entries = {}
  for at = 1, #found, 2 do entries[#entries + 1] = {id = found[at], time = num(found[at + 1])} end
  return entries
end

-- Whether a worker lives and renews, and has not spoken of a job since its lease was last lengthened: then nobody died.
local function is_unheld(id, j, ends)
  local seen = num(redis.call('ZSCORE', ns .. 'workers', j.worker or ''))
  local told = ends - ARGV[9]
  if seen <= told or seen <= time - ARGV[9] / 2 then return false end
  return num(redis.call('HGET', job_key(id), 'still')) < told
end

local models = redis.call('SMEMBERS', ns .. 'queue_models')
for _, model in ipairs(models) do
  local expired = {}
  if ARGV[7] == '1' then
    expired = due(leases_key(model), time)
  end
  for _, entry in ipairs(expired) do
    local id = entry.id
    local j = load_job(id)
    redis.call('ZREM', leases_key(model), id)  -- also where it stands under another model than its job's
    if j and j.state == 'running' and is_unheld(id, j, entry.time) then
      let_lapse(id, j, time)
      lost[#lost + 1] = id
    elseif j and j.state == 'running' then
      lose(id, j, tonumber(ARGV[5]), 'the lease of worker ' .. (j.worker or '?') .. ' ran out', time)
      lost[#lost + 1] = id
    elseif not j then
      write_off(id, time)
    end
  end
end
for _, model in ipairs(models) do
  local old = time - ARGV[4]
  for _, entry in ipairs(due(dispatched_key(model), old)) do
    local id = entry.id
    redis.call('ZREM', dispatched_key(model), id)
    local j = load_job(id)
    if not j or not has_model(j.batch, j.model) then
      write_off(id, time)
    elseif j.state == 'queued' then
      make_ready(j.batch, j.row, j.model)
      unclaimed[#unclaimed + 1] = id
      count('unclaimed')
    end
  end
end
for _, entry in ipairs(due(ns .. 'delayed', time)) do
  local id = entry.id
  redis.call('ZREM', ns .. 'delayed', id)
  local j = load_job(id)
  if j and j.state == 'queued' then make_ready(j.batch, j.row, j.model) end
  if not j then write_off(id, time) end
end
-- Workers whose machine vanished: their jobs went back long ago.
for _, entry in ipairs(due(ns .. 'workers', time - ARGV[8])) do
  local worker = entry.id
  redis.call('ZREM', ns .. 'workers', worker)
  redis.call('DEL', alone_key(worker), ns .. 'worker:' .. worker)
  redis.call('HDEL', ns .. 'rooms', worker)
  redis.call('SREM', ns .. 'draining', worker)
end
return {lost, unclaimed, left > 0 and 0 or 1}
