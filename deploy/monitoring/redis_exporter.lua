-- The numbers of APIKEY.HEALTH for redis_exporter's -script, as apikey_NAME; the status as 0 healthy, 1 degraded,
-- 2 unhealthy.
local health, told = redis.call('APIKEY.HEALTH'), {}
for i = 1, #health, 2 do
    local value = health[i + 1]
    if health[i] == 'status' then value = ({healthy = 0, degraded = 1, unhealthy = 2})[value] end
    if type(value) == 'number' then
        told[#told + 1] = 'apikey_' .. health[i]
        told[#told + 1] = string.format('%.0f', value)
    end
end
return told
