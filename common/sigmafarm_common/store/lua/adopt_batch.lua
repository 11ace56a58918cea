-- Lists a batch whose records were made anew: it is over, and its manifest is due. Saying it twice lists it once.
-- ARGV[4] batch
-- Returns 1, or 0 if no adoption of it was begun. No state change.
local batch, time = ARGV[4], now()
local s = steering(batch)
if s and s.phase == 'sealed' then return 1 end
if not s or s.phase ~= 'adopting' then return 0 end
redis.call('HSET', batch_key(batch), 'phase', 'sealed')
local created = redis.call('HGET', batch_key(batch), 'created')
redis.call('ZADD', ns .. 'batches', created, batch)
redis.call('ZADD', ns .. 'batches:' .. s.owner, created, batch)
emit('batch.submitted', batch)
conclude(batch, time)
return 1
