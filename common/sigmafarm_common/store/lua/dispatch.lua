-- Chooses the next jobs of every model for the room that living workers have: by priority, then fair share between owners
-- and their batches by cost, then by row.
-- A job that runs alone is the last of its model in its round: it needs a worker for itself.
-- ARGV[4] jobs to choose at most  [5] a worker is living if it was seen within this many ms
-- [6] losses from which on a job runs alone
-- Returns {model, job id, model, job id, ...}. No state change: a dispatched job is still queued, with a call on its way.
local left, time, alone_from = tonumber(ARGV[4]), now(), tonumber(ARGV[6])
redis.call('DEL', ns .. 'bell')  -- whatever it told of is seen to now

local waiting = {}
for _, model in ipairs(redis.call('SMEMBERS', ns .. 'queue_models')) do
  if redis.call('EXISTS', ns .. 'queue:' .. model) == 1 then waiting[#waiting + 1] = model end
end
if #waiting == 0 then return {} end

-- How many more jobs a worker can hold. What it says of itself may be no JSON, or of another shape: then none.
local function free_of(worker, info)
  local free = num(info.slots) + num(info.lookahead) - redis.call('SCARD', held_key(worker))
  if redis.call('SISMEMBER', ns .. 'draining', worker) == 1 or info.is_draining or (info.failing or '') ~= '' or is_reserved(worker, alone_from, time) then free = 0 end
  return math.max(free, 0)
end

local room = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', ns .. 'workers', time - ARGV[5], '+inf')) do
  local info = cjson.decode(redis.call('GET', ns .. 'worker:' .. worker) or '')
  if type(info.models) == 'table' then
    local free = free_of(worker, info)
    for _, model in ipairs(info.models) do room[model] = (room[model] or 0) + free end
  end
end

local function charge(key, member, cost) redis.call('ZINCRBY', key, cost, member) end

-- The batch whose turn it is, with its model's level and its owner's place there; nothing where none waits. What leads
-- nowhere is taken out of the way: an empty step, a batch that may not be dispatched or stands elsewhere.
local known = {}
local function turn(model)
  while true do
    local priority = redis.call('ZRANGE', ns .. 'queue:' .. model, 0, 0)[1]
    if not priority then return nil end
    local level = level_key(model, priority)
    local owner = redis.call('ZRANGE', level, 0, 0)[1]
    local members = level .. ':' .. (owner or '')
    local batch = owner and redis.call('ZRANGE', members, 0, 0)[1]
    if not batch then
      redis.call('ZREM', owner and level or ns .. 'queue:' .. model, owner or priority)
    else
      if known[batch] == nil then known[batch] = steering(batch) or false end
      local s = known[batch]
      if s and s.phase == 'sealed' and not s.paused and not s.cancelling and s.owner == owner and s.priority == priority then
        return {batch = batch, owner = owner, priority = priority, level = level, members = members}
      end
      unlink(batch, model, owner, priority)
      if s and s.phase == 'sealed' then link(batch, model) end
    end
  end
end

-- Takes the next job of a model off the queue, or nil; says too whether it runs alone. '' is a row without a job to draw.
local function take(model)
  local t = turn(model)
  if not t then return nil end
  local row = redis.call('ZPOPMIN', ready_key(t.batch, model))[1]
  local id = row and job_id(t.batch, row)
  local alone, is_good = false, false
  if id then
    local f = redis.call('HMGET', job_key(id), 'state', 'model', 'cost', 'losses')
    is_good = f[1] == 'queued' and f[2] == model
    if is_good then
      alone = num(f[4]) >= alone_from
      charge(t.level, t.owner, num(f[3]))
      charge(t.members, t.batch, num(f[3]))
      redis.call('ZADD', dispatched_key(model), time, id)
    else
      local j = load_job(id)
      if not j or j.state == 'queued' then write_off(id, time) end  -- or its model is none of its batch's
    end
  end
  if redis.call('EXISTS', ready_key(t.batch, model)) == 0 then unlink(t.batch, model, t.owner, t.priority) end
  return is_good and id or '', alone
end

local chosen = {}
for _, model in ipairs(waiting) do
  local free = (room[model] or 0) - redis.call('ZCARD', dispatched_key(model))
  while free > 0 and left > 0 do
    local id, alone = take(model)
    if not id then break end
    if id ~= '' then
      chosen[#chosen + 1] = model
      chosen[#chosen + 1] = id
      free = alone and 0 or free - 1
    end
    left = left - 1
  end
end
return chosen
