-- Keeps the record of an uploaded picture, or begins the time anew of one that is there already and unused: what a file of
-- the same content says. Saying it twice keeps one record. add_rows and drop_uploads see it whole or not at all.
-- ARGV[4] sha256  [5] owner  [6] key in the object store, '' to look only  [7] bytes  [8] width  [9] height
-- [10] 1 for the picture of a job, which lies there anyway  [11] bytes that the owner's uploads may have, 0 for any number
-- Returns {the key that counts}, {''} if there is none and none was given, or {QUOTA, bytes held} if it would be too many.
-- No job changes its state.
local hex, owner, key = ARGV[4], ARGV[5], ARGV[6]
local held = redis.call('HGET', upload_key(hex, owner), 'key')
if not held and key == '' then return {''} end
local time = now()
if not held then
  local bytes = ARGV[10] == '1' and 0 or num(ARGV[7])
  local before = num(redis.call('HGET', ns .. 'upload_bytes', owner))
  if bytes > 0 and num(ARGV[11]) > 0 and before + bytes > num(ARGV[11]) then return {QUOTA, before} end
  redis.call('HSET', upload_key(hex, owner), 'key', key, 'size', ARGV[7], 'width', ARGV[8], 'height', ARGV[9],
             'linked', ARGV[10], 'created', time)
  add_to(ns .. 'upload_bytes', owner, bytes)
  held = key
end
if redis.call('EXISTS', upload_batches_key(hex, owner)) == 0 then
  redis.call('ZADD', ns .. 'unused_uploads', time, hex .. ':' .. owner)
end
return {held}
