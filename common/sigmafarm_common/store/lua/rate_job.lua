-- Keeps how a person rates a picture. The manifest tells of ratings: that of a batch which is over is due again.
-- ARGV[4] job  [5] rating from 1 to 5, 0 for none
-- Returns {1}; {0} if there is no such job, {-1, state} if it has no picture. No state change.
local id = ARGV[4]
local batch = place_of(id)
if not batch or not is_sealed(batch) then return {0} end
local state, before = unpack(redis.call('HMGET', job_key(id), 'state', 'rating'))
if not state then return {0} end
if state ~= 'succeeded' then return {-1, state} end
local rating = num(ARGV[5])
if num(before) == rating then return {1} end
if rating > 0 then redis.call('HSET', job_key(id), 'rating', ARGV[5])
else redis.call('HDEL', job_key(id), 'rating') end
add_to(batch_key(batch), 'rated', (rating > 0 and 1 or 0) - (num(before) > 0 and 1 or 0))
touch(batch)
emit('job.rated', batch, id, 'rating', ARGV[5])
local ended = redis.call('HGET', batch_key(batch), 'finished')
if ended and redis.call('ZREM', ns .. 'concluded', batch) == 1 then redis.call('ZADD', ns .. 'finished', num(ended), batch) end
return {1}
