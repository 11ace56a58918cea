-- Forgets uploads that no batch has used for a time, those first that wait longest. Their objects stand among the deletions
-- from then on, until somebody has removed them: a removal that fails is made again. A submit that names one of them comes
-- before this, and keeps it, or after it, and is refused.
-- ARGV[4] ms that an upload is kept unused  [5] uploads at most
-- Returns how many were looked at. No job changes its state.
local due = redis.call('ZRANGEBYSCORE', ns .. 'unused_uploads', '-inf', now() - ARGV[4], 'LIMIT', 0, ARGV[5])
for _, name in ipairs(due) do
  redis.call('ZREM', ns .. 'unused_uploads', name)
  local hex, owner = string.match(name, '^(%x+):(.*)$')
  if hex and redis.call('EXISTS', upload_batches_key(hex, owner)) == 0 then
    local f = redis.call('HMGET', upload_key(hex, owner), 'key', 'size', 'linked')
    redis.call('UNLINK', upload_key(hex, owner))
    if f[1] and f[3] ~= '1' then
      redis.call('SADD', ns .. 'deletions', f[1])
      add_to(ns .. 'upload_bytes', owner, -num(f[2]))
    end
  end
end
return #due
