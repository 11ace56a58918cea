-- Moves a batch to another level of the queue.
-- ARGV[4] batch  [5] priority
-- Returns 1, or 0 if there is no such batch. No state change.
local batch = ARGV[4]
local s = steering(batch)
if not s or s.phase ~= 'sealed' then return 0 end
unlink_all(batch)
redis.call('HSET', batch_key(batch), 'priority', ARGV[5])
link_all(batch)
touch(batch)
emit('batch.priority', batch, nil, 'priority', ARGV[5])
return 1
