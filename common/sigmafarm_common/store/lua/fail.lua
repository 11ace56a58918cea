-- Records an error of a job: another try after a back-off that doubles up to a limit, or the end.
-- ARGV[4] job  [5] fence (number-token)  [6] code  [7] message  [8] retryable (1 or 0)  [9] tries at most
-- [10] first back-off in ms  [11] longest
-- Returns the new state, or '' if the fence is old. State change: running -> queued | failed.
local id = ARGV[4]
local j = load_running(id, ARGV[5])
if not j then return '' end
local time = now()
forget_running(id, j.model, j.worker)
remember(id, j, 'error', ARGV[7], time)
redis.call('HSET', job_key(id), 'attempts', j.attempts + 1)
count('errors')
measure('error', ARGV[6], j.model, 1)
if ARGV[8] == '1' and j.attempts + 1 < tonumber(ARGV[9]) then
  put_back(id, j, math.min(tonumber(ARGV[10]) * 2 ^ j.attempts, tonumber(ARGV[11])), 'error', time)
  return 'queued'
end
give_up(id, j, ARGV[6], ARGV[7], time)
note_pace(0, j.cost, time)
return 'failed'
