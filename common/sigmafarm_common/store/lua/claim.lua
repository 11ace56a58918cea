-- A worker takes a dispatched job. Whatever is not queued and dispatched is a duplicate, a ghost or forged, and is refused.
-- Saying it twice with one token (a lost reply) gives the same claim twice: else the job would run in nobody's hands.
-- A job that was there at several deaths runs alone: while its worker holds others it is refused, stays dispatched, and
-- the worker is given no other job until it is empty and claims again, or has not asked for a lease's time.
-- A job of a batch that reuses waits while an equal one of its owner is drawn, and is given the picture of one that has
-- been, by the same weights.
-- ARGV[4] job  [5] worker  [6] lease in ms  [7] token of this call  [8] losses from which on a job runs alone
-- Returns {number of the fence, attempts, losses, request as JSON}, with the job whose picture it may take, that one's
-- image key, sha256, bytes, fingerprint and warnings; or {'not alone', jobs that the worker holds}, or {refusal}.
-- State change: queued -> running.
local id, worker, token, alone_from = ARGV[4], ARGV[5], ARGV[7], tonumber(ARGV[8])
local j = load_job(id)
if not j then return {'ghost'} end
local s = is_sealed(j.batch)
local reuses = j.same and redis.call('HGET', batch_key(j.batch), 'reuse') == '1'

-- The job whose picture this one may take, with all that is known of it; nothing where there is none.
local function find_source()
  if not reuses then return {} end
  local prints = cjson.decode(redis.call('GET', ns .. 'worker:' .. worker) or '').fingerprints
  local print = type(prints) == 'table' and prints[j.model]
  local other = type(print) == 'string' and redis.call('HGET', pictures_key(s.owner), j.same .. ':' .. print)
  if not other or other == id then return {} end
  local f = redis.call('HMGET', job_key(other), 'state', 'image_key', 'sha256', 'size', 'print', 'warnings')
  if f[1] ~= 'succeeded' or not f[2] then return {} end
  return {other, f[2], f[3] or '', f[4] or '', f[5] or '', f[6] or ''}
end

local source = find_source()
local function granted(fence) return {fence, j.attempts, j.losses, request_of(id), unpack(source)} end
if j.state == 'running' and j.token == token then return granted(num(j.fence)) end
if redis.call('HGET', alone_key(worker), 'job') == id then redis.call('DEL', alone_key(worker)) end
if j.state ~= 'queued' then return {'duplicate'} end
if redis.call('ZREM', dispatched_key(j.model), id) == 0 then return {'not dispatched'} end
if s.paused or s.cancelling then
  make_ready(j.batch, j.row, j.model)
  return {'paused'}
end
local time, num_held = now(), redis.call('SCARD', held_key(worker))
if is_reserved(worker, alone_from, time, num_held) or redis.call('SISMEMBER', ns .. 'draining', worker) == 1 then
  make_ready(j.batch, j.row, j.model)
  return {'reserved'}
end
local equal = reuses and not source[1] and redis.call('HGET', drawing_key(s.owner), j.same)
if equal and equal ~= id and redis.call('HGET', job_key(equal), 'state') == 'running' then
  redis.call('ZADD', ns .. 'delayed', time + ARGV[6], id)
  redis.call('SADD', twins_key(equal), id)
  return {'twin'}
end
if j.losses >= alone_from and num_held > 0 then
  redis.call('ZADD', dispatched_key(j.model), time, id)
  redis.call('HSET', alone_key(worker), 'job', id, 'until', time + ARGV[6])
  return {'not alone', num_held}
end
local fence = redis.call('HINCRBY', job_key(id), 'fence', 1)
redis.call('HSET', job_key(id), 'worker', worker, 'started', time, 'step', 0, 'token', token)
redis.call('ZADD', leases_key(j.model), time + ARGV[6], id)
redis.call('SADD', held_key(worker), id)
if j.same then redis.call('HSET', drawing_key(s.owner), j.same, id) end
move(id, j.batch, j.row, 'queued', 'running', time, j)
emit('job.running', j.batch, id, 'worker', worker)
return granted(fence)
