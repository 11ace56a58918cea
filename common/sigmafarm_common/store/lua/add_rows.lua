-- Appends jobs to an open batch. Saying the same call twice (a lost reply) adds them once.
-- ARGV[4] batch  [5] row of the first  [6] bytes that the owner may have open, 0 for any number  [7] number of texts
-- [8] number of uploads, then for each text that rows share: name, text; then the SHA-256 of each upload that they draw
-- from; then for each job: model, cost, steps, what equal jobs have alike, record
-- (see request_of)
-- Returns {number of rows of the batch}, or {-1} if it is not open, {-2} if rows before the first are missing, or
-- {QUOTA, bytes open, owner} if it would be too many bytes, {GONE, sha256} if an upload is not there (any more).
-- State change: a job comes into being as queued; nobody sees it before the seal.
local batch, first, num_texts, num_uploads = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local f = redis.call('HMGET', batch_key(batch), 'phase', 'rows', 'owner', 'size', 'costs')
if f[1] ~= 'open' then return {-1} end
local uploads_from = 9 + 2 * num_texts
local from = uploads_from + num_uploads
local count = (#ARGV - from + 1) / 5
if num(f[2]) >= first + count then return {num(f[2])} end
if num(f[2]) ~= first then return {-2} end

local bytes = 0
for at = from + 4, #ARGV, 5 do bytes = bytes + #ARGV[at] end
for at = 9, uploads_from - 1, 2 do
  if redis.call('HEXISTS', texts_key(batch), ARGV[at]) == 0 then bytes = bytes + #ARGV[at + 1] end
end
local open_bytes = num(redis.call('HGET', ns .. 'open_bytes', f[3] or ''))
if num(ARGV[6]) > 0 and open_bytes + bytes > num(ARGV[6]) then return {QUOTA, open_bytes, f[3] or ''} end
local owner = f[3] or ''
for at = uploads_from, from - 1 do
  if redis.call('EXISTS', upload_key(ARGV[at], owner)) == 0 then return {GONE, ARGV[at]} end
end

local time = now()
redis.call('HINCRBY', batch_key(batch), 'bytes', bytes)
add_open_bytes(f[3], bytes, 1)
for at = 9, uploads_from - 1, 2 do redis.call('HSETNX', texts_key(batch), ARGV[at], ARGV[at + 1]) end
for at = uploads_from, from - 1 do  -- used from here on, so that drop_uploads leaves them
  redis.call('SADD', upload_batches_key(ARGV[at], owner), batch)
  redis.call('SADD', uploads_key(batch), ARGV[at])
  redis.call('ZREM', ns .. 'unused_uploads', ARGV[at] .. ':' .. owner)
end
local rows, ready, work, size, costs = {}, {}, {}, f[4], f[5]
for n = 0, count - 1 do
  local at, row = from + n * 5, first + n
  local id, model = job_id(batch, row), ARGV[at]
  local key = job_key(id)
  redis.call('HSET', key, 'state', 'queued', 'batch', batch, 'row', row, 'model', model,
             'cost', ARGV[at + 1], 'steps', ARGV[at + 2], 'submitted', time, 'same', ARGV[at + 3])
  redis.call('SET', key .. ':request', ARGV[at + 4])
  rows[#rows + 1] = row
  rows[#rows + 1] = row
  local own_size = size_of(ARGV[at + 1], ARGV[at + 2])
  if size and size ~= own_size then size = 'mixed' else size = own_size end
  if costs and costs ~= ARGV[at + 1] then costs = 'mixed' else costs = ARGV[at + 1] end
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
redis.call('HSET', batch_key(batch), 'rows', first + count, 'size', size or '', 'costs', costs or '')
redis.call('HINCRBY', batch_key(batch), 'queued', count)
redis.call('ZADD', ns .. 'open', time, batch)
return {first + count}
