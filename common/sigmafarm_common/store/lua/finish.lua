-- Records the picture of a job. Saying it twice (a lost reply) is accepted twice and counted once.
-- ARGV[4] job  [5] fence  [6] image key  [7] sha256  [8] bytes
-- Returns 1 if this is the job's picture, 0 if the fence is old or the job does not run: then the caller deletes its object.
-- State change: running -> succeeded.
local id, fence = ARGV[4], ARGV[5]
local j = load_running(id, fence)
if not j then
  local f = redis.call('HMGET', job_key(id), 'state', 'fence', 'image_key')
  return (f[1] == 'succeeded' and f[2] == fence and f[3] == ARGV[6]) and 1 or 0
end
local time = now()
local steps = redis.call('HGET', job_key(id), 'steps')
forget_running(id, j.model, j.worker)
redis.call('HSET', job_key(id), 'image_key', ARGV[6], 'sha256', ARGV[7], 'size', ARGV[8], 'step', steps)
move(id, j.batch, j.row, 'running', 'succeeded', time)
emit('job.succeeded', j.batch, id)
conclude(j.batch, time)
return 1
