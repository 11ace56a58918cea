-- Makes records anew for jobs of a batch whose records were lost and whose pictures lie in the object store. Saying the
-- same call twice adds them once, so that an adoption that was cut off goes on. Nobody sees them before adopt_batch.
-- ARGV[4] batch  [5] owner  [6] name  [7] when it was submitted, in ms  [8] row of the first, then for each job: state
-- (succeeded, failed or cancelled), model, cost, steps, request as JSON, image key, fence's number, token, sha256, bytes,
-- error code, error, what equal jobs have alike
-- Returns the number of rows of the batch, -1 if it has records, -2 if rows before the first are missing.
-- State change: a job comes into being in a terminal state.
local batch, first, time = ARGV[4], tonumber(ARGV[8]), now()
local f = redis.call('HMGET', batch_key(batch), 'phase', 'rows')
if f[1] and f[1] ~= 'adopting' then return -1 end
if not f[1] then
  redis.call('HSET', batch_key(batch), 'phase', 'adopting', 'name', ARGV[6], 'owner', ARGV[5], 'priority', 0, 'paused', 0,
             'created', ARGV[7], 'defaults', '{}', 'rows', 0, 'key', '',
             'queued', 0, 'running', 0, 'succeeded', 0, 'failed', 0, 'cancelled', 0)
end
local count, known = (#ARGV - 8) / 13, num(f[2])
if known >= first + count then return known end
if known ~= first then return -2 end
for n = 0, count - 1 do
  local at, row = 9 + n * 13, first + n
  local id, state, model = job_id(batch, row), ARGV[at], ARGV[at + 1]
  local key = job_key(id)
  redis.call('HSET', key, 'state', state, 'batch', batch, 'row', row, 'model', model, 'cost', ARGV[at + 2],
             'steps', ARGV[at + 3], 'submitted', ARGV[7], 'finished', time, 'same', ARGV[at + 12])
  if ARGV[at + 6] ~= '0' then redis.call('HSET', key, 'fence', ARGV[at + 6], 'token', ARGV[at + 7]) end
  if state == 'succeeded' then
    redis.call('HSET', key, 'image_key', ARGV[at + 5], 'sha256', ARGV[at + 8], 'size', ARGV[at + 9], 'step', ARGV[at + 3])
  elseif state == 'failed' then
    redis.call('HSET', key, 'error_code', ARGV[at + 10], 'error', ARGV[at + 11])
    redis.call('HINCRBY', failures_key(batch), ARGV[at + 10], 1)
  end
  redis.call('SET', key .. ':request', ARGV[at + 4])
  redis.call('SADD', models_key(batch), model)
  redis.call('ZADD', index_key(batch, state), row, row)
  redis.call('HINCRBY', batch_key(batch), state, 1)
end
redis.call('HSET', batch_key(batch), 'rows', first + count)
return first + count
