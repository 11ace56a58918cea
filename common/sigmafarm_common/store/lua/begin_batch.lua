-- Opens a batch for rows, or answers with the one that the idempotency key already has.
-- ARGV[4] new batch id  [5] name  [6] owner  [7] priority  [8] defaults as JSON  [9] idempotency key or ''  [10] stale ms
-- [11] whether its jobs take equal jobs' pictures (1)  [12] the batch that it goes on from, or ''  [13] its trace, or ''
-- Returns {batch id, 'new' | 'sealed' | 'busy'}, with what was said of the rows of a sealed one. No job changes its state.
local id, name, owner, priority, defaults, key = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local time = now()
if key ~= '' then
  local name_key = idempotency_key(owner, key)
  local held = redis.call('GET', name_key)
  if held and held ~= id then
    local s = steering(held)
    if s and s.phase == 'sealed' then return {held, 'sealed', redis.call('HGET', batch_key(held), 'said') or ''} end
    local touched = num(redis.call('ZSCORE', ns .. 'open', held))
    if s and s.phase == 'open' and time - touched < tonumber(ARGV[10]) then return {held, 'busy'} end
    if s and s.phase == 'open' then
      add_open_bytes(owner, redis.call('HGET', batch_key(held), 'bytes'), -1)  -- else its own dead rows stand in its way
      redis.call('HSET', batch_key(held), 'phase', 'discarded', 'key', '', 'bytes', 0)
      redis.call('ZADD', ns .. 'open', 0, held)
    end
  end
  redis.call('SET', name_key, id)
end
redis.call('HSET', batch_key(id), 'phase', 'open', 'name', name, 'owner', owner, 'priority', priority, 'paused', 0,
           'created', time, 'defaults', defaults, 'rows', 0, 'key', key, 'reuse', ARGV[11],
           'queued', 0, 'running', 0, 'succeeded', 0, 'failed', 0, 'cancelled', 0)
if ARGV[12] ~= '' then redis.call('HSET', batch_key(id), 'parent', ARGV[12]) end
if ARGV[13] ~= '' then redis.call('HSET', batch_key(id), 'trace', ARGV[13]) end
redis.call('ZADD', ns .. 'open', time, id)
return {id, 'new'}
