-- Drops what the levels of the queue remember of their owners, once all of them left long ago, and models without anything.
-- ARGV[4] ms since the last owner left a level
-- Returns the levels dropped. No state change.
local known, dropped = {}, 0
local old = now() - ARGV[4]
for _, level in ipairs(redis.call('ZRANGEBYSCORE', ns .. 'clocks', '-inf', old)) do
  local model, priority = string.match(level, '^(.*):([^:]*)$')
  if redis.call('EXISTS', level_key(model, priority)) == 0 then
    redis.call('UNLINK', level_key(model, priority) .. '/clock')
    redis.call('ZREM', ns .. 'clocks', level)
    dropped = dropped + 1
  end
end
for _, level in ipairs(redis.call('ZRANGE', ns .. 'clocks', 0, -1)) do known[string.match(level, '^(.*):')] = true end
for _, model in ipairs(redis.call('SMEMBERS', ns .. 'queue_models')) do
  local used = redis.call('EXISTS', ns .. 'queue:' .. model, dispatched_key(model), leases_key(model))
  if used == 0 and not known[model] then redis.call('SREM', ns .. 'queue_models', model) end
end
return dropped
