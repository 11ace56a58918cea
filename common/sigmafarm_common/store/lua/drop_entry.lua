-- Removes an entry of an index whose job does not belong there (any more). No script of ours leaves one; a server that
-- lost its last second, or a hand, may.
-- ARGV[4] leases, dispatched, delayed or held  [5] model or worker ('' for delayed)  [6] job  [7] only if it is older: ms
-- [8] 1 to remove it, 0 to be told only
-- Returns 1, or 0 if the job belongs there or the entry is young or gone. No state change.
local place, name, id = ARGV[4], ARGV[5], ARGV[6]
local oldest, is_meant = now() - ARGV[7], ARGV[8] == '1'
local j = load_job(id)
local belongs = {
  leases = j and j.state == 'running' and j.model == name,
  held = j and j.state == 'running' and j.worker == name,
  dispatched = j and j.state == 'queued' and j.model == name,
  delayed = j and j.state == 'queued',
}
if belongs[place] then return 0 end
if place == 'held' then
  -- Held sets know no times: the entry is as old as the last thing that happened to its job.
  for _, time in ipairs(j and redis.call('HMGET', job_key(id), 'submitted', 'started', 'finished') or {}) do
    if num(time) > oldest then return 0 end
  end
  return redis.call(is_meant and 'SREM' or 'SISMEMBER', held_key(name), id)
end
local keys = {leases = leases_key(name), dispatched = dispatched_key(name), delayed = ns .. 'delayed'}
local time = redis.call('ZSCORE', keys[place], id)
if not time or num(time) > oldest then return 0 end
return is_meant and redis.call('ZREM', keys[place], id) or 1
