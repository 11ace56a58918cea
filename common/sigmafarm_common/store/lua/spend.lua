-- Takes from an allowance that refills steadily (the generic cell rate algorithm: ITU-T I.371, annex A).
-- ARGV[4] name  [5] ms that one unit takes to come back  [6] units that may be saved up  [7] units wanted
-- Returns 0 when they are granted, else the ms after which they would be. No state change.
local key, unit, time = ns .. 'allowance:' .. ARGV[4], tonumber(ARGV[5]), now()
local full_at = math.max(num(redis.call('GET', key)), time)
local then_full_at = full_at + unit * tonumber(ARGV[7])
local wait = then_full_at - unit * tonumber(ARGV[6]) - time
if wait > 0 then return math.ceil(wait) end
redis.call('SET', key, string.format('%.3f', then_full_at), 'PX', math.ceil(then_full_at - time) + 1)
return 0
