-- A worker says that it lives, and how far its jobs are. Jobs that moved get a new lease; the others keep the old one.
-- ARGV[4] worker  [5] what it says about itself as JSON (without the times)  [6] lease in ms
-- then for each job: id, fence (number-token), step, moved (1 or 0)
-- Returns {job id, fence, reason, ...} of the tries to drop: cancelled, paused or lost. No state change.
local worker, time = ARGV[4], now()
local before = redis.call('GET', ns .. 'worker:' .. worker)
local started = tonumber(before and cjson.decode(before).started_ms) or time
-- The text is kept as it came: cjson would write an empty list of models as an empty object.
local info = string.format('%s,"started_ms":%d,"seen_ms":%d}', string.sub(ARGV[5], 1, -2), started, time)
redis.call('ZREM', ns .. 'workers', worker)
redis.call('ZADD', ns .. 'workers', time, worker)
redis.call('SET', ns .. 'worker:' .. worker, info)
redis.call('HSET', ns .. 'rooms', worker, room_text(cjson.decode(info)))

local drop = {}
for at = 7, #ARGV, 4 do
  local id = ARGV[at]
  local j = load_running(id, ARGV[at + 1])
  local reason = drop_reason(id, j)
  if j and redis.call('HGET', job_key(id), 'step') ~= ARGV[at + 2] then
    redis.call('HSET', job_key(id), 'step', ARGV[at + 2])
    touch(j.batch)
  end
  if j and ARGV[at + 3] == '1' then redis.call('ZADD', leases_key(j.model), time + ARGV[6], id) end
  if j and ARGV[at + 3] ~= '1' then redis.call('HSET', job_key(id), 'still', time) end
  if reason then
    drop[#drop + 1] = id
    drop[#drop + 1] = ARGV[at + 1]
    drop[#drop + 1] = reason
  end
end
return drop
