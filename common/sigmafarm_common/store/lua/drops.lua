-- A worker asks, between two renewals, which of its tries it must let go of.
-- ARGV[4...] for each try: job, fence (number-token)
-- Returns {job id, fence, reason, ...}: cancelled, paused or lost. No state change.
local drop = {}
for at = 4, #ARGV, 2 do
  local id, fence = ARGV[at], ARGV[at + 1]
  local reason = drop_reason(id, load_running(id, fence))
  if reason then
    drop[#drop + 1] = id
    drop[#drop + 1] = fence
    drop[#drop + 1] = reason
  end
end
return drop
