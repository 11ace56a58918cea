-- A worker takes a dispatched job. Whatever is not queued and dispatched is a duplicate, a ghost or forged, and is refused.
-- Saying it twice with one token (a lost reply) gives the same claim twice: else the job would run in nobody's hands.
-- ARGV[4] job  [5] worker  [6] lease in ms  [7] token of this call
-- Returns {fence, attempts, losses, request as JSON}, or {refusal}. State change: queued -> running.
local id, worker, token = ARGV[4], ARGV[5], ARGV[7]
local j = load_job(id)
if not j then return {'ghost'} end
local function granted(fence) return {fence, j.attempts, j.losses, redis.call('GET', job_key(id) .. ':request')} end
if j.state == 'running' and redis.call('HGET', job_key(id), 'token') == token then return granted(tonumber(j.fence)) end
if j.state ~= 'queued' then return {'duplicate'} end
if redis.call('ZREM', dispatched_key(j.model), id) == 0 then return {'not dispatched'} end
local s = steering(j.batch)
if s.paused or s.cancelling then
  make_ready(j.batch, j.row, j.model)
  return {'paused'}
end
local time = now()
local fence = redis.call('HINCRBY', job_key(id), 'fence', 1)
redis.call('HSET', job_key(id), 'worker', worker, 'started', time, 'step', 0, 'token', token)
redis.call('ZADD', leases_key(j.model), time + ARGV[6], id)
redis.call('SADD', held_key(worker), id)
move(id, j.batch, j.row, 'queued', 'running', time)
emit('job.running', j.batch, id, 'worker', worker)
return granted(fence)
