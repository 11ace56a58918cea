-- Records the picture of a job. Saying it twice (a lost reply) is accepted twice and counted once.
-- ARGV[4] job  [5] fence (number-token)  [6] image key  [7] sha256  [8] bytes  [9] ms that encoding and uploading took
-- [10] fingerprint of the model that drew it, '' where it is not known  [11] warnings as JSON, '' for none  [12] the job
-- whose picture it took, '' where it was drawn  [13..] their codes
-- Returns 1 if this is the job's picture, 0 if the fence is old or the job does not run: then the caller deletes its object.
-- State change: running -> succeeded.
local id, fence = ARGV[4], ARGV[5]
local j = load_running(id, fence)
if not j then
  local f = redis.call('HMGET', job_key(id), 'state', 'fence', 'token', 'image_key')
  if f[1] == 'succeeded' and (f[2] or '') .. '-' .. (f[3] or '') == fence and f[4] == ARGV[6] then return 1 end
  redis.pcall('HINCRBY', ns .. 'totals', 'refused', 1)  -- a full server must not hide the answer
  return 0
end
local time = now()
forget_running(id, j.model, j.worker)
redis.call('HSET', job_key(id), 'image_key', ARGV[6], 'sha256', ARGV[7], 'size', ARGV[8], 'upload', ARGV[9], 'step', j.steps)
if ARGV[10] ~= '' then
  redis.call('HSET', job_key(id), 'print', ARGV[10])
  if j.same then redis.call('HSET', pictures_key(is_sealed(j.batch).owner), j.same .. ':' .. ARGV[10], id) end
end
if ARGV[12] ~= '' then
  redis.call('HSET', job_key(id), 'reused', ARGV[12])
  redis.call('HINCRBY', batch_key(j.batch), 'reused', 1)
  count('reused')
end
if ARGV[11] ~= '' then redis.call('HSET', job_key(id), 'warnings', ARGV[11]) end
for n = 13, #ARGV do redis.call('HINCRBY', batch_key(j.batch), 'warned:' .. ARGV[n], 1) end
move(id, j.batch, j.row, 'running', 'succeeded', time, j)
emit('job.succeeded', j.batch, id, #ARGV > 12 and 'warnings', table.concat(ARGV, ',', 13))
conclude(j.batch, time)
if ARGV[12] ~= '' then return 1 end
note_pace(1, j.cost, time)
observe('wait', j.model, num(j.started) - j.waits_since)
observe('draw', j.model, time - num(j.started) - num(ARGV[9]))
observe('upload', j.model, num(ARGV[9]))
return 1
