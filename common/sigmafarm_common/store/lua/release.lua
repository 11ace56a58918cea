-- A worker hands a job back unfinished; no try is counted.
-- ARGV[4] job  [5] fence (number-token)  [6] outcome for the history: released or paused  [7] why, for people
-- Returns 1, or 0 if the fence is old. State change: running -> queued.
local id = ARGV[4]
local j = load_running(id, ARGV[5])
if not j then return 0 end
local time = now()
forget_running(id, j.model, j.worker)
remember(id, j, ARGV[6], ARGV[7], time)
count('released')
put_back(id, j, 0, ARGV[6], time)
return 1
