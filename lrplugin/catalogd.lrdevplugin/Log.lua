--[[ The log, Documents/LrClassicLogs/catalogd.log: what went wrong, never a token, a query or a path.

    Log.start()            lets it be written
    Log.failure(failure)   a failure of Api.lua or Batches.lua
]]

local LrLogger = import "LrLogger"

local Log = {}

local logger = LrLogger("catalogd")

function Log.start()
    logger:enable("logfile")
end

function Log.failure(failure)
    logger:warn(table.concat({ tostring(failure.kind), tostring(failure.status or "-"),
                               tostring(failure.error or "-"), tostring(failure.address or "-") }, " "))
end

return Log
