-- Shared by every script; the store puts it in front of each of them.
-- ARGV[1] namespace, ARGV[2] now in ms (0: Redis TIME), ARGV[3] events to keep; a script's own arguments begin at ARGV[4].
-- Names in capitals that no script makes are handed over by scripts.py: limits, and sets of states, as Python has them.
-- KEYS: none. Names are built here from the namespace, so the farm needs a standalone server or Sentinel, not a Cluster.
-- What each key holds stands in common/README.md.
-- A full server refuses a script's first write if it could take memory, and none after it. So scripts that submit begin
-- with such a write, and those that go on with accepted work with a removal: what runs is renewed and finished even then.
-- Nothing here or in a script trusts a record to be whole: a hand or half a backup may have spoiled any key, and one such
-- record must never stop the others. `redis.call` and `cjson.decode` are therefore the patient ones below.

local ns = ARGV[1] .. ':'
local event_limit = ARGV[3]
-- What a job says whose record cannot be read any more.
local SPOILED_TEXT = 'its record was lost or changed from outside: submit its prompt again'

local function now()
  if ARGV[2] ~= '0' then return tonumber(ARGV[2]) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local raw, json = redis, cjson
local redis, cjson = {pcall = raw.pcall}, {encode = json.encode}

-- What the server answers. A key of a wrong type is put aside for the operator (`sigmafarm check` names it), a counter that
-- is no number begins anew, and the call is made again as if nothing had been there.
function redis.call(...)
  local answer = raw.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  local _, key, field = ...
  if string.find(answer.err, 'WRONGTYPE', 1, true) then
    raw.call('RENAME', key, ns .. 'spoiled:' .. string.sub(key, #ns + 1))
  elseif string.find(answer.err, 'hash value is not an', 1, true) then
    raw.call('HSET', key, field, 0)
  end
  return raw.call(...)
end

-- The table that a JSON text holds; an empty one for any other text.
function cjson.decode(text)
  local is_read, value = pcall(json.decode, text)
  return is_read and type(value) == 'table' and value or {}
end

-- A text as a number, 0 for what is none.
local function num(text)
  local value = tonumber(text)
  if not value or value ~= value or value == math.huge or value == -math.huge then return 0 end
  return value
end

-- Ends a script of a program that is older than the farm's records: what it does not know of them it would spoil.
local function refuse_newer_records()
  local noted = num(redis.call('GET', ns .. 'schema'))
  if noted > SCHEMA_VERSION then error('NEWERRECORDS ' .. noted) end
end

local function job_key(id) return ns .. 'job:' .. id end
local function batch_key(batch) return ns .. 'batch:' .. batch end
local function index_key(batch, state) return ns .. 'batch:' .. batch .. ':' .. state end
local function ready_key(batch, model) return ns .. 'batch:' .. batch .. ':ready:' .. model end
local function models_key(batch) return ns .. 'batch:' .. batch .. ':models' end
local function dispatched_key(model) return ns .. 'dispatched:' .. model end
local function leases_key(model) return ns .. 'leases:' .. model end
local function held_key(worker) return ns .. 'worker:' .. worker .. ':jobs' end
local function preview_key(id) return ns .. 'job:' .. id .. ':preview' end
local function failures_key(batch) return ns .. 'batch:' .. batch .. ':failures' end
local function alone_key(worker) return ns .. 'worker:' .. worker .. ':alone' end
local function level_key(model, priority) return ns .. 'queue:' .. model .. ':' .. priority end
local function idempotency_key(owner, key) return ns .. 'idempotency:' .. #owner .. ':' .. owner .. ':' .. key end
local function twins_key(id) return ns .. 'job:' .. id .. ':twins' end
local function drawing_key(owner) return ns .. 'drawing:' .. owner end
local function pictures_key(owner) return ns .. 'pictures:' .. owner end
local function texts_key(batch) return ns .. 'batch:' .. batch .. ':texts' end
local function uploads_key(batch) return ns .. 'batch:' .. batch .. ':uploads' end
local function upload_key(hex, owner) return ns .. 'upload:' .. hex .. ':' .. owner end
local function upload_batches_key(hex, owner) return ns .. 'upload_batches:' .. hex .. ':' .. owner end

-- The id of a row's job; one that is no job's for what is no row.
local function job_id(batch, row)
  return string.find(row, '^%d+$') and string.format('%s-%06d', batch, tonumber(row)) or batch .. '-?'
end

-- The batch and the row that a job's id names, or nothing. Ids come in messages and URLs: one that is none must not become
-- the name of another key.
local function place_of(id)
  local batch, row = string.match(id, '^([0-9a-z]+)%-(%d+)$')
  if batch then return batch, string.format('%.0f', tonumber(row)) end
end

-- One line of the event stream.
local function emit(kind, batch, job, name, value)
  local args = {'XADD', ns .. 'events', 'MAXLEN', '~', event_limit, '*', 'kind', kind, 'batch', batch}
  if job and job ~= '' then args[#args + 1] = 'job'; args[#args + 1] = job end
  if name then args[#args + 1] = name; args[#args + 1] = value end
  redis.call(unpack(args))
end

-- Something of a batch changed: whoever remembers its revision asks again.
local function touch(batch) redis.call('HINCRBY', batch_key(batch), 'revision', 1) end

-- One more of something that the farm counts for good.
local function count(name, by) redis.call('HINCRBY', ns .. 'totals', name, by or 1) end

-- One more of something that is counted for good by model, as what:which:model; what is new once MEASURED_FIELDS are there
-- is left out, so that names from outside cannot fill the server.
local function measure(what, which, model, by)
  local field = what .. ':' .. (string.match(which, '^[%w_]+$') or 'other') .. ':' .. model
  if redis.call('HINCRBY', ns .. 'measured', field, string.format('%.0f', by)) == by
     and redis.call('HLEN', ns .. 'measured') > MEASURED_FIELDS then
    redis.call('HDEL', ns .. 'measured', field)
  end
end

-- Counts a duration in its histogram: under the number of the first bound that it keeps to, and in the sum.
local function observe(what, model, ms)
  local bounds, n = BOUNDS_MS[what], 1
  while bounds[n] and ms > bounds[n] do n = n + 1 end
  measure(what, tostring(n), model, 1)
  measure(what, 'ms', model, math.max(0, ms))
end

-- A number in a hash that stands for nothing at zero, so that what is over leaves no field.
local function add_to(key, field, by)
  if by ~= 0 and redis.call('HINCRBY', key, field, string.format('%.0f', by)) == 0 then redis.call('HDEL', key, field) end
end

-- Steps times pixels of a job, a whole number: costs are told in steps times megapixels.
local function work_of(cost) return math.floor(num(cost) * 1e6 + 0.5) end

-- The pixels of a job's picture, as a text: what its cost is for each of its steps.
local function size_of(cost, steps) return string.format('%.0f', work_of(cost) / math.max(1, num(steps))) end

-- Jobs of a sealed batch became open (sign 1) or reached their end (-1): what its owner, its model and it itself have open.
local function add_open(batch, owner, model, work, sign)
  add_to(ns .. 'open_jobs', owner, sign)
  add_to(ns .. 'open_work', model, sign * work)
  add_to(batch_key(batch), 'open:' .. model, sign * work)
end

-- Counts what left the queue by a worker's hand, in the farm's pace: pictures and work of each PACE_MS, the newest
-- PACE_ENTRIES of them. A job that failed for good has left it too; a try after which another comes has not.
local function note_pace(pictures, cost, time)
  local slot = math.floor(time / PACE_MS)
  local work = redis.call('HINCRBY', ns .. 'pace', slot .. ':work', string.format('%.0f', work_of(cost)))
  redis.call('HINCRBY', ns .. 'pace', slot, pictures)
  if work == work_of(cost) then
    for _, field in ipairs(redis.call('HKEYS', ns .. 'pace')) do
      if num(string.match(field, '%d+')) <= slot - PACE_ENTRIES then redis.call('HDEL', ns .. 'pace', field) end
    end
  end
end

-- How many jobs an owner has open, and whether so many more would be above a limit (0: none).
local function open_jobs_of(owner) return num(redis.call('HGET', ns .. 'open_jobs', owner)) end
local function exceeds(owner, more, limit) return num(limit) > 0 and open_jobs_of(owner) + more > num(limit) end

-- A batch's fields that steer, or nil. phase is open, sealed, discarded or forgotten.
local function steering(batch)
  if string.find(batch, '[^0-9a-z]') then return nil end
  local f = redis.call('HMGET', batch_key(batch), 'phase', 'owner', 'priority', 'paused', 'cancelling')
  if not f[1] then return nil end
  local priority = string.match(f[3] or '', '^-?%d+$') or '0'
  return {phase = f[1], owner = f[2] or '', priority = priority, paused = f[4] == '1', cancelling = f[5] == '1'}
end

-- The same of an accepted batch, or nil; asked once a script for each, so it does not tell what this script changed.
local accepted = {}
local function is_sealed(batch)
  if accepted[batch] == nil then
    local s = steering(batch)
    accepted[batch] = s and s.phase == 'sealed' and s or false
  end
  return accepted[batch]
end

-- Tells the leading keeper, who waits for it, that something may be dispatched which could not before; once a script.
local has_rung = false
local function ring()
  if has_rung then return end
  has_rung = true
  if redis.call('LLEN', ns .. 'bell') == 0 then redis.call('RPUSH', ns .. 'bell', 1) end
end

-- Fair sharing by start-time fair queueing: whoever has the smallest virtual time is served, and pays its job's cost.
-- Owners that come back keep what they had paid, so that a trickle of small batches gains nothing over one big one.
local function link(batch, model, known)
  local s = known or steering(batch)
  if not s or s.phase ~= 'sealed' or s.paused or s.cancelling then return end
  if redis.call('ZCARD', ready_key(batch, model)) == 0 then return end
  ring()
  local level = level_key(model, s.priority)
  local members = level .. ':' .. s.owner
  if not redis.call('ZSCORE', level, s.owner) then
    local first = redis.call('ZRANGE', level, 0, 0, 'WITHSCORES')
    local floor = num(first[2] or redis.call('HGET', level .. '/clock', ''))
    local paid = num(redis.call('HGET', level .. '/clock', s.owner))
    redis.call('ZADD', level, math.max(floor, paid), s.owner)
    redis.call('ZADD', ns .. 'queue:' .. model, -tonumber(s.priority), s.priority)
    redis.call('SADD', ns .. 'queue_models', model)
  end
  if not redis.call('ZSCORE', members, batch) then
    local first = redis.call('ZRANGE', members, 0, 0, 'WITHSCORES')
    redis.call('ZADD', members, num(first[2]), batch)
  end
end

local function unlink(batch, model, owner, priority)
  local level = level_key(model, priority)
  local members = level .. ':' .. owner
  redis.call('ZREM', members, batch)
  if redis.call('ZCARD', members) > 0 then return end
  local paid = redis.call('ZSCORE', level, owner)
  if paid then
    redis.call('HSET', level .. '/clock', owner, paid, '', paid)
    redis.call('ZADD', ns .. 'clocks', now(), model .. ':' .. priority)
    redis.call('ZREM', level, owner)
  end
  if redis.call('ZCARD', level) == 0 then redis.call('ZREM', ns .. 'queue:' .. model, priority) end
  if redis.call('EXISTS', ns .. 'queue:' .. model) == 0 then redis.call('HDEL', ns .. 'runs', model) end
end

local function unlink_all(batch)
  local s = steering(batch)
  for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do unlink(batch, model, s.owner, s.priority) end
end

local function link_all(batch)
  local s = steering(batch)
  for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do link(batch, model, s) end
end

-- Lets go of uploads that a batch uses, so many at most, and returns how many are left. What no other batch uses is unused
-- from now on.
local function release_uploads(batch, owner, most)
  for _, hex in ipairs(most > 0 and redis.call('SPOP', uploads_key(batch), most) or {}) do
    redis.call('SREM', upload_batches_key(hex, owner), batch)
    if redis.call('EXISTS', upload_batches_key(hex, owner)) == 0 and redis.call('EXISTS', upload_key(hex, owner)) == 1 then
      redis.call('ZADD', ns .. 'unused_uploads', now(), hex .. ':' .. owner)
    end
  end
  return redis.call('SCARD', uploads_key(batch))
end

-- Removes all that is left of a batch without jobs.
local function erase(batch, owner)
  local key = redis.call('HGET', batch_key(batch), 'key')
  if key and key ~= '' then
    local name_key = idempotency_key(owner, key)
    if redis.call('GET', name_key) == batch then redis.call('DEL', name_key) end
  end
  for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do redis.call('UNLINK', ready_key(batch, model)) end
  redis.call('UNLINK', batch_key(batch), models_key(batch), failures_key(batch), texts_key(batch))
end

-- A queued job waits for dispatch (again), at the place of its row.
local function make_ready(batch, row, model)
  redis.call('ZADD', ready_key(batch, model), row, row)
  link(batch, model)
end

-- A queued job waits for nothing any more.
local function forget_waiting(id, batch, row, model)
  redis.call('ZREM', dispatched_key(model), id)
  redis.call('ZREM', ns .. 'delayed', id)
  if redis.call('ZREM', ready_key(batch, model), row) == 1 and redis.call('ZCARD', ready_key(batch, model)) == 0 then
    local s = steering(batch)
    unlink(batch, model, s.owner, s.priority)
  end
end

-- A job is drawn no more: equal jobs that waited for its picture are due, as far as TWINS_PER_CALL; others are by time.
local function release_twins(id)
  local s, same = is_sealed((place_of(id))), redis.call('HGET', job_key(id), 'same')
  if s and same and redis.call('HGET', drawing_key(s.owner), same) == id then
    redis.call('HDEL', drawing_key(s.owner), same)
  end
  for _, twin in ipairs(redis.call('SPOP', twins_key(id), TWINS_PER_CALL)) do
    redis.call('ZADD', ns .. 'delayed', 'XX', 0, twin)
  end
  redis.call('UNLINK', twins_key(id))
end

-- A job leaves its worker: no lease, and in nobody's hands. There is room for another now, if one waits.
local function forget_running(id, model, worker)
  redis.call('ZREM', leases_key(model), id)
  redis.call('UNLINK', preview_key(id))
  if worker then redis.call('SREM', held_key(worker), id) end
  if not has_rung and redis.call('EXISTS', ns .. 'queue:' .. model) == 1 then ring() end
  release_twins(id)
end

-- What dispatch wants to know of a worker, short: its slots, those and its jobs ahead, whether it takes jobs (1 or 0), and
-- its models. Of one that says something else of itself: nothing that can be drawn.
local function room_text(info)
  local slots = math.max(0, num(info.slots))
  local takes = not info.is_draining and (info.failing or '') == '' and 1 or 0
  local is_read, models = pcall(table.concat, info.models, ' ')
  return string.format('%d %d %d %s', slots, slots + math.max(0, num(info.lookahead)), takes, is_read and models or '')
end

-- Whether a worker, which holds so many jobs, takes no other now: it draws one that runs alone, or empties itself for one.
local function is_reserved(worker, alone_from, time, num_held)
  local ends = redis.call('HGET', alone_key(worker), 'until')
  if num(ends) > time then return true end
  if num_held ~= 1 then return false end
  local only = redis.call('SMEMBERS', held_key(worker))[1]
  return num(redis.call('HGET', job_key(only), 'losses')) >= alone_from
end

-- A batch's bytes count among its owner's while jobs of it are open (sign 1), and no more once it is over (-1).
local function add_open_bytes(owner, bytes, sign) add_to(ns .. 'open_bytes', owner or '', sign * num(bytes)) end

-- A job's row goes from one index of its batch to another, and the counters with it.
local function shift(batch, row, from, to)
  redis.call('HINCRBY', batch_key(batch), from, -1)
  redis.call('HINCRBY', batch_key(batch), to, 1)
  redis.call('ZREM', index_key(batch, from), row)
  redis.call('ZADD', index_key(batch, to), row, row)
end

-- A batch that was over has an open job again.
local function reopen(batch)
  if redis.call('HDEL', batch_key(batch), 'finished') == 0 then return end
  redis.call('ZREM', ns .. 'finished', batch)
  redis.call('ZREM', ns .. 'concluded', batch)
  local f = redis.call('HMGET', batch_key(batch), 'owner', 'bytes')
  add_open_bytes(f[1], f[2], 1)
end

-- The one place where a job's state changes: record, batch counters and index in one stroke. j: the job, if it is loaded.
local function move(id, batch, row, from, to, time, j)
  if IS_OPEN[to] then redis.call('HSET', job_key(id), 'state', to)
  else redis.call('HSET', job_key(id), 'state', to, 'finished', time) end
  touch(batch)
  if IS_OPEN[from] ~= IS_OPEN[to] then
    local f = j and {j.model, j.cost} or redis.call('HMGET', job_key(id), 'model', 'cost')
    local s = is_sealed(batch)
    add_open(batch, s and s.owner or '', f[1] or '', work_of(f[2]), IS_OPEN[to] and 1 or -1)
    if not IS_OPEN[to] then measure('state', to, f[1] or '', 1) end
  end
  if to ~= 'queued' then count(to == 'running' and 'claimed' or to) end
  shift(batch, row, from, to)
  if to == 'queued' then reopen(batch) end
end

-- What jobs without a whole record left in the sums of open work, once their batch is over.
local function settle_work(batch)
  for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do
    local left = num(redis.call('HGET', batch_key(batch), 'open:' .. model))
    add_to(ns .. 'open_work', model, -left)
    redis.call('HDEL', batch_key(batch), 'open:' .. model)
  end
end

-- Ends a batch that has no open job left. Every script that moved a job into a terminal state calls this after the job's
-- own event, so that batch.finished is the last word.
local function conclude(batch, time)
  if redis.call('EXISTS', index_key(batch, 'queued'), index_key(batch, 'running')) > 0 then return end
  if redis.call('HSET', batch_key(batch), 'finished', time) == 1 then
    local f = redis.call('HMGET', batch_key(batch), 'owner', 'bytes', 'written_off')
    add_open_bytes(f[1], f[2], -1)
    if f[3] then settle_work(batch) end
  end
  redis.call('ZADD', ns .. 'finished', time, batch)
  emit('batch.finished', batch)
end

-- A try that did not end in a picture goes into the job's history, which keeps the newest.
local function remember(id, j, outcome, text, time)
  local entry = {fence = num(j.fence), worker = j.worker or '', outcome = outcome, error = text,
                 started_ms = num(j.started), ended_ms = time}
  local length = redis.call('RPUSH', job_key(id) .. ':history', cjson.encode(entry))
  if length > HISTORY_LIMIT then redis.call('LTRIM', job_key(id) .. ':history', -HISTORY_LIMIT, -1) end
end

-- Whether a batch has jobs of a model; asked once a script for each. A batch that lost its list of models has any.
local served = {}
local function has_model(batch, model)
  local name = batch .. ':' .. model
  if served[name] == nil then
    served[name] = redis.call('SISMEMBER', models_key(batch), model) == 1 or redis.call('EXISTS', models_key(batch)) == 0
  end
  return served[name]
end

-- The fields of a job that scripts decide by, or nil for a job that does not exist, or whose record or batch is not whole
-- enough to go by.
local function load_job(id)
  local batch, row = place_of(id)
  if not batch or not is_sealed(batch) then return nil end
  local f = redis.call('HMGET', job_key(id), 'state', 'model', 'fence', 'worker', 'started', 'attempts', 'losses',
                       'token', 'cost', 'steps', 'same', 'submitted', 'again')
  if not IS_STATE[f[1]] or not f[2] then return nil end
  return {state = f[1], batch = batch, row = row, model = f[2], fence = f[3] or '0', worker = f[4], started = f[5],
          attempts = num(f[6]), losses = num(f[7]), token = f[8] or '', cost = num(f[9]), steps = num(f[10]), same = f[11],
          waits_since = num(f[13] or f[12])}
end

-- A job's request as JSON, put together from its own part and the texts that it shares with other rows of its batch; ''
-- where something of it is missing. A record reads `id id {own part}`, an id naming a text such as {"prompt":"..."}.
local function request_of(id)
  local record = redis.call('GET', job_key(id) .. ':request')
  local names, own = string.match(record or '', '^([0-9a-f ]*){(.*)}$')
  if not own then return record or '' end
  local parts = {own ~= '' and own or nil}
  for name in string.gmatch(names, '%x+') do
    local text = redis.call('HGET', texts_key((place_of(id))), name)
    if not text then return '' end
    parts[#parts + 1] = string.sub(text, 2, -2)
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- The job that runs under this fence (number-token), or nil: everything that a worker says of a job passes through here.
local function load_running(id, fence)
  local j = load_job(id)
  if j and j.state == 'running' and j.fence .. '-' .. j.token == fence then return j end
  return nil
end

-- Why a worker must let go of a try: cancelled, paused or lost; nil if it may go on. j: what load_running says of it.
local function drop_reason(id, j)
  if not j then return redis.call('HGET', job_key(id), 'state') == 'cancelled' and 'cancelled' or 'lost' end
  if redis.call('HGET', batch_key(j.batch), 'paused') == '1' then return 'paused' end
  return nil
end

-- running -> failed
local function give_up(id, j, code, text, time)
  redis.call('HINCRBY', ns .. 'pace', math.floor(time / PACE_MS) .. ':failed', 1)
  redis.call('HSET', job_key(id), 'error_code', code, 'error', text)
  redis.call('HINCRBY', failures_key(j.batch), code, 1)
  measure('failure', code, j.model, 1)
  observe('wait', j.model, num(j.started) - j.waits_since)
  move(id, j.batch, j.row, 'running', 'failed', time, j)
  emit('job.failed', j.batch, id, 'code', code)
  conclude(j.batch, time)
end

-- running -> queued, to be dispatched now or after a delay
local function put_back(id, j, delay_ms, why, time)
  redis.call('HSET', job_key(id), 'step', 0)
  move(id, j.batch, j.row, 'running', 'queued', time, j)
  if delay_ms > 0 then redis.call('ZADD', ns .. 'delayed', time + delay_ms, id)
  else make_ready(j.batch, j.row, j.model) end
  emit('job.queued', j.batch, id, 'why', why)
end

-- running -> queued: its worker lives and no longer speaks of it, as after a claim whose answer was lost. No death.
local function let_lapse(id, j, time)
  forget_running(id, j.model, j.worker)
  remember(id, j, 'lost', 'worker ' .. (j.worker or '?') .. ' lives and does not have it', time)
  count('lost')
  put_back(id, j, 0, 'lost', time)
end

-- running -> queued or failed: the process that held it has died or gone silent.
local function lose(id, j, max_losses, text, time)
  forget_running(id, j.model, j.worker)
  remember(id, j, 'lost', text, time)
  count('lost')
  redis.call('HSET', job_key(id), 'losses', j.losses + 1)
  if j.losses + 1 >= max_losses then
    give_up(id, j, 'lost', string.format('%d workers died with it; last: %s', j.losses + 1, text), time)
  else
    put_back(id, j, 0, 'lost', time)
  end
end

-- A job whose record is gone or cannot be read can be drawn by nobody. queued or running (so says its batch's index)
-- -> failed, so that its batch comes to its end; jobs whose batch has no record either are left alone.
local function write_off(id, time)
  local batch, row = place_of(id)
  if not batch or not is_sealed(batch) then return end
  local from = nil
  for state in pairs(IS_OPEN) do
    if redis.call('ZSCORE', index_key(batch, state), row) then from = state end
  end
  if not from then return end
  redis.call('ZREM', ns .. 'delayed', id)
  for _, model in ipairs(redis.call('SMEMBERS', models_key(batch))) do
    redis.call('ZREM', leases_key(model), id)
    forget_waiting(id, batch, row, model)
  end
  redis.call('HSET', batch_key(batch), 'written_off', 1)
  redis.call('HSET', job_key(id), 'batch', batch, 'row', row, 'error_code', 'spoiled_record', 'error', SPOILED_TEXT)
  redis.call('HINCRBY', failures_key(batch), 'spoiled_record', 1)
  count('spoiled')
  move(id, batch, row, from, 'failed', time)
  emit('job.failed', batch, id, 'code', 'spoiled_record')
  conclude(batch, time)
end

-- queued or running -> cancelled
local function cancel(id, j, time)
  if j.state == 'running' then
    forget_running(id, j.model, j.worker)
    remember(id, j, 'cancelled', '', time)
  else
    forget_waiting(id, j.batch, j.row, j.model)
  end
  move(id, j.batch, j.row, j.state, 'cancelled', time, j)
end

-- failed or cancelled -> queued, with the tries counted anew and the history kept
local function retry(id, j, time)
  if j.state == 'failed' then add_to(failures_key(j.batch), redis.call('HGET', job_key(id), 'error_code') or '', -1) end
  count('retried')
  redis.call('HDEL', job_key(id), 'error_code', 'error', 'finished', 'attempts', 'losses', 'step')
  redis.call('HSET', job_key(id), 'again', time)
  move(id, j.batch, j.row, j.state, 'queued', time, j)
  make_ready(j.batch, j.row, j.model)
end
