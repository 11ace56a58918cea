-- Takes back the jobs of a worker whose process has died, a piece at a time; with the last piece the worker is forgotten.
-- ARGV[4] worker  [5] losses at most  [6] whether it died (1) or ended in order (0: nothing is counted)  [7] jobs at most
-- Returns {jobs left, job id, ...}. State change: running -> queued | failed.
local worker, time, limit = ARGV[4], now(), tonumber(ARGV[7])
local held = redis.call('SMEMBERS', held_key(worker))
table.sort(held)
local taken = {math.max(#held - limit, 0)}
for n = 1, math.min(#held, limit) do
  local id = held[n]
  local j = load_job(id)
  redis.call('SREM', held_key(worker), id)
  taken[n + 1] = id
  if j and j.state == 'running' and j.worker == worker then
    if ARGV[6] == '1' then
      lose(id, j, tonumber(ARGV[5]), 'worker ' .. worker .. ' died', time)
    else
      forget_running(id, j.model, worker)
      remember(id, j, 'released', '', time)
      count('released')
      put_back(id, j, 0, 'released', time)
    end
  elseif not j then
    write_off(id, time)
  end
end
if taken[1] > 0 then return taken end
redis.call('DEL', held_key(worker), alone_key(worker), ns .. 'worker:' .. worker)
redis.call('HDEL', ns .. 'rooms', worker)
redis.call('ZREM', ns .. 'workers', worker)
redis.call('SREM', ns .. 'draining', worker)
return taken
