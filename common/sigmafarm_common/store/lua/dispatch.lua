-- Chooses the next jobs of every model for the room that living workers have: by priority, then fair share between owners
-- and their batches by cost, then by row. In a batch of several sizes, a row of the size that was chosen last goes before
-- others of the first SIZE_WINDOW rows, for a run of as many jobs as the workers draw at once: pictures of one size are
-- drawn together. A run's end is the first row's turn. Of a batch whose jobs cost differently, the longest go first once no
-- more rows wait than the workers draw in LAST_ROUNDS rounds: else one that was begun last is waited for.
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

local draining = {}
for _, worker in ipairs(redis.call('SMEMBERS', ns .. 'draining')) do draining[worker] = true end

-- What the living workers say of their room, WORKERS_PER_CALL at once; one of an older version says it in its record alone.
local WORKERS_PER_CALL = 500
local workers, rooms = redis.call('ZRANGEBYSCORE', ns .. 'workers', time - ARGV[5], '+inf'), {}
for first = 1, #workers, WORKERS_PER_CALL do
  local last = math.min(first + WORKERS_PER_CALL - 1, #workers)
  for n, text in ipairs(redis.call('HMGET', ns .. 'rooms', unpack(workers, first, last))) do rooms[first + n - 1] = text end
end

-- How many more jobs each model has room for, and slots. A worker that is full, as most of a busy farm are, is asked nothing
-- more.
local room, slots = {}, {}
for n, worker in ipairs(workers) do
  local text = rooms[n] or room_text(cjson.decode(redis.call('GET', ns .. 'worker:' .. worker) or ''))
  local own_slots, most, takes, models = string.match(text, '^(%d+) (%d+) ([01]) (.*)$')
  local num_held = redis.call('SCARD', held_key(worker))
  local free = num(most) - num_held
  if takes ~= '1' or draining[worker] or free > 0 and is_reserved(worker, alone_from, time, num_held) then free = 0 end
  for model in string.gmatch(models or '', '%S+') do
    room[model] = (room[model] or 0) + math.max(0, free)
    slots[model] = (slots[model] or 0) + num(own_slots)
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

-- Which size a model's newest jobs had, and how many more of it may go before others.
local runs = {}
local function run_of(model)
  if not runs[model] then
    local size, left = string.match(redis.call('HGET', ns .. 'runs', model) or '', '^(%d+) (%d+)$')
    runs[model] = {size = size, left = num(left)}
  end
  return runs[model]
end

local function go_on(model, size)
  local run = run_of(model)
  if run.size ~= size or run.left == 0 then run.size, run.left = size, math.max(slots[model] or 0, 1) end
  run.left = run.left - 1
  redis.call('HSET', ns .. 'runs', model, run.size .. ' ' .. run.left)
end

-- The first rows of a batch with size and cost of each, and whether its longest go first; none where rows go in their order.
local windows = {}
local function window_of(batch, model)
  local name = batch .. ':' .. model
  if not windows[name] then
    local kinds, ready = redis.call('HMGET', batch_key(batch), 'size', 'costs'), ready_key(batch, model)
    local window = {}
    if kinds[2] == 'mixed' then window.is_last = redis.call('ZCARD', ready) <= LAST_ROUNDS * (slots[model] or 0) end
    local has_order = kinds[1] ~= 'mixed' and not window.is_last
    for n, row in ipairs(has_order and {} or redis.call('ZRANGE', ready, 0, SIZE_WINDOW - 1)) do
      local f = redis.call('HMGET', job_key(job_id(batch, row)), 'cost', 'steps')
      window[n] = {row = row, size = size_of(f[1], f[2]), cost = num(f[1])}
    end
    windows[name] = window
  end
  return windows[name]
end

-- Where in a window the next row of a size stands, or nil.
local function place_of_size(window, size)
  local at
  for n, each in ipairs(window) do
    if each.size == size and (not at or window.is_last and each.cost > window[at].cost) then at = n end
  end
  return at
end

-- Takes a row of a batch out of those that are ready, or nil.
local function next_row(batch, model)
  local window, run = window_of(batch, model), run_of(model)
  if #window == 0 then return redis.call('ZPOPMIN', ready_key(batch, model))[1] end
  local at = run.left > 0 and place_of_size(window, run.size) or place_of_size(window, window[1].size)
  local row = table.remove(window, at).row
  redis.call('ZREM', ready_key(batch, model), row)
  return row
end

-- Takes the next job of a model off the queue, or nil; says too whether it runs alone. '' is a row without a job to draw.
local function take(model)
  local t = turn(model)
  if not t then return nil end
  local row = next_row(t.batch, model)
  local id = row and job_id(t.batch, row)
  local alone, is_good = false, false
  if id then
    local f = redis.call('HMGET', job_key(id), 'state', 'model', 'cost', 'losses', 'steps')
    is_good = f[1] == 'queued' and f[2] == model
    if is_good then
      alone = num(f[4]) >= alone_from
      charge(t.level, t.owner, num(f[3]))
      charge(t.members, t.batch, num(f[3]))
      redis.call('ZADD', dispatched_key(model), time, id)
      go_on(model, size_of(f[3], f[5]))
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
