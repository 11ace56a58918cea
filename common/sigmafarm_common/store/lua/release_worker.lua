-- Takes back every job of a worker whose process has died, and forgets the worker.
-- ARGV[4] worker  [5] losses at most  [6] whether it died (1) or ended in order (0: nothing is counted)
-- Returns the job ids. State change: running -> queued | failed.
local worker, time = ARGV[4], now()
local held = redis.call('SMEMBERS', held_key(worker))
table.sort(held)
for _, id in ipairs(held) do
  local j = load_job(id)
  if j and j.state == 'running' and j.worker == worker then
    if ARGV[6] == '1' then
      lose(id, j, tonumber(ARGV[5]), 'worker ' .. worker .. ' died', time)
    else
      forget_running(id, j.model, worker)
      remember(id, j, 'released', '', time)
      count('released')
      put_back(id, j, 0, 'released', time)
    end
  end
end
redis.call('DEL', held_key(worker), alone_key(worker), ns .. 'worker:' .. worker)
redis.call('ZREM', ns .. 'workers', worker)
redis.call('SREM', ns .. 'draining', worker)
return held
