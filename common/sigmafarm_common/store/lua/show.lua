-- Shows how far running jobs are, while somebody looks: the step, and a small picture of it.
-- ARGV[4] how long a picture is kept, in ms; then for each job: id, fence (number-token), step, picture in base 64
-- Returns 0. No state change; what is said of a job under an old fence is left out.
for at = 5, #ARGV, 4 do
  local id = ARGV[at]
  local j = load_running(id, ARGV[at + 1])
  if j then
    redis.call('SET', preview_key(id), ARGV[at + 1] .. ' ' .. ARGV[at + 2] .. ' ' .. ARGV[at + 3], 'PX', ARGV[4])
    redis.call('HSET', job_key(id), 'step', ARGV[at + 2])
    touch(j.batch)
  end
end
return 0
