-- Drops what the levels of the queue remember of their owners, once all of them left long ago, and models without anything.
-- ARGV[4] ms since the last owner left a level  [5] levels and models to look at at most
-- Returns the levels dropped. No state change.
local dropped = 0
local old = now() - ARGV[4]
for _, level in ipairs(redis.call('ZRANGEBYSCORE', ns .. 'clocks', '-inf', old, 'LIMIT', 0, ARGV[5])) do
  local model, priority = string.match(level, '^(.*):([^:]*)$')
  if not model or redis.call('EXISTS', level_key(model, priority)) == 0 then
    if model then redis.call('UNLINK', level_key(model, priority) .. '/clock') end
    redis.call('ZREM', ns .. 'clocks', level)
    dropped = dropped + 1
  end
end

-- Whether a level of a model still remembers its owners.
local function has_clock(model)
  local keys = {}
  for priority = LOWEST_PRIORITY, HIGHEST_PRIORITY do keys[#keys + 1] = level_key(model, priority) .. '/clock' end
  return redis.call('EXISTS', unpack(keys)) > 0
end

for _, model in ipairs(redis.call('SRANDMEMBER', ns .. 'queue_models', math.min(ARGV[5], MODELS_PER_PIECE))) do
  local used = redis.call('EXISTS', ns .. 'queue:' .. model, dispatched_key(model), leases_key(model))
  if used == 0 and not has_clock(model) then redis.call('SREM', ns .. 'queue_models', model) end
end
return dropped
