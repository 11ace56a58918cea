-- Notes the version of the records that this program writes, if it is newer than the one that is noted: from now on older
-- programs are refused by every script. A full server must not keep a farm from starting: then it is noted another time.
-- ARGV: none of its own.
-- Returns nothing. No state change.
if num(redis.call('GET', ns .. 'schema')) < SCHEMA_VERSION then redis.pcall('SET', ns .. 'schema', SCHEMA_VERSION) end
return 0
