-- Chooses the next jobs of every model for the room that living workers have: by priority, then fair share between owners
-- and their batches by cost, then by row.
-- A job that runs alone is the last of its model in its round: it needs a worker for itself.
-- ARGV[4] jobs to choose at most  [5] a worker is living if it was seen within this many ms
-- [6] losses from which on a job runs alone
-- Returns {model, job id, model, job id, ...}. No state change: a dispatched job is still queued, with a call on its way.
local left, time, alone_from = tonumber(ARGV[4]), now(), tonumber(ARGV[6])

local room = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', ns .. 'workers', time - ARGV[5], '+inf')) do
  local info = redis.call('GET', ns .. 'worker:' .. worker)
  if info then
    info = cjson.decode(info)
    local free = info.slots + info.lookahead - redis.call('SCARD', held_key(worker))
    if redis.call('SISMEMBER', ns .. 'draining', worker) == 1 or info.is_draining or (info.failing or '') ~= '' or is_reserved(worker, alone_from, time) then free = 0 end
    for _, model in ipairs(info.models) do room[model] = (room[model] or 0) + math.max(free, 0) end
  end
end

local function charge(key, member, cost) redis.call('ZINCRBY', key, cost, member) end

-- Takes the next job of a model off the queue, or nil; says too whether it runs alone.
local take
take = function(model)
  local priority = redis.call('ZRANGE', ns .. 'queue:' .. model, 0, 0)[1]
  if not priority then return nil end
  local level = level_key(model, priority)
  local owner = redis.call('ZRANGE', level, 0, 0)[1]
  local members = level .. ':' .. (owner or '')
  local batch = owner and redis.call('ZRANGE', members, 0, 0)[1]
  if not batch then
    -- An empty step, made by somebody's hand: it must not stand in the way of every model's jobs.
    redis.call('ZREM', owner and level or ns .. 'queue:' .. model, owner or priority)
    return take(model)
  end
  local row = redis.call('ZPOPMIN', ready_key(batch, model))[1]
  local id = row and job_id(batch, row)
  local alone = false
  if id then
    local f = redis.call('HMGET', job_key(id), 'cost', 'losses')
    alone = tonumber(f[2] or 0) >= alone_from
    charge(level, owner, f[1] or 0)
    charge(members, batch, f[1] or 0)
    redis.call('ZADD', dispatched_key(model), time, id)
  end
  if redis.call('ZCARD', ready_key(batch, model)) == 0 then unlink(batch, model, owner, priority) end
  return id, alone
end

local chosen = {}
for _, model in ipairs(redis.call('SMEMBERS', ns .. 'queue_models')) do
  local free = (room[model] or 0) - redis.call('ZCARD', dispatched_key(model))
  while free > 0 and left > 0 do
    local id, alone = take(model)
    if not id then break end
    chosen[#chosen + 1] = model
    chosen[#chosen + 1] = id
    free, left = alone and 0 or free - 1, left - 1
  end
end
return chosen
