-- Appends jobs to an open batch. Saying the same call twice (a lost reply) adds them once.
-- ARGV[4] batch  [5] row of the first  then for each job: model, cost, steps, request as JSON
-- Returns the number of rows of the batch, or -1 if it is not open, or -2 if rows before the first are missing.
-- State change: a job comes into being as queued; nobody sees it before the seal.
local batch, first = ARGV[4], tonumber(ARGV[5])
local f = redis.call('HMGET', batch_key(batch), 'phase', 'rows')
if f[1] ~= 'open' then return -1 end
local count = (#ARGV - 5) / 4
if tonumber(f[2]) >= first + count then return tonumber(f[2]) end
if tonumber(f[2]) ~= first then return -2 end
local time = now()
local rows, ready, work = {}, {}, {}
for n = 0, count - 1 do
  local at, row = 6 + n * 4, first + n
  local id, model = job_id(batch, row), ARGV[at]
  local key = job_key(id)
  redis.call('HSET', key, 'state', 'queued', 'batch', batch, 'row', row, 'model', model,
             'cost', ARGV[at + 1], 'steps', ARGV[at + 2], 'submitted', time)
  redis.call('SET', key .. ':request', ARGV[at + 3])
  rows[#rows + 1] = row
  rows[#rows + 1] = row
  if not ready[model] then
    ready[model] = {}
    work[model] = 0
    redis.call('SADD', models_key(batch), model)
  end
  table.insert(ready[model], row)
  table.insert(ready[model], row)
  work[model] = work[model] + work_of(ARGV[at + 1])
end
redis.call('ZADD', index_key(batch, 'queued'), unpack(rows))
for model, pairs_of_rows in pairs(ready) do
  redis.call('ZADD', ready_key(batch, model), unpack(pairs_of_rows))
  add_to(batch_key(batch), 'open:' .. model, work[model])
end
redis.call('HSET', batch_key(batch), 'rows', first + count)
redis.call('HINCRBY', batch_key(batch), 'queued', count)
redis.call('ZADD', ns .. 'open', time, batch)
return first + count
