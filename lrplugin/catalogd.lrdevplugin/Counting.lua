--[[ The live count below the box in which a query is typed.

    Counting.follow(context, properties)   until the context ends: whenever `properties.query` changes,
        `properties.count` says soon after how many photos it finds, or what is wrong with it
]]

local LrTasks = import "LrTasks"

local Api = require "Api"
local Dialogs = require "Dialogs"

local Counting = {}

local PAUSE_S = 0.3 -- of typing, before anything is asked

local function text_of(answer, failure)
    if not answer then
        local text, how = Api.problem(failure)
        return failure.kind == "answer" and how or text
    end
    if answer.capped then
        return LOC("$$$/Catalogd/Counting/AtLeast=Photos: ^1 or more", Dialogs.count(answer.count))
    end
    return LOC("$$$/Catalogd/Counting/Photos=Photos: ^1", Dialogs.count(answer.count))
end

function Counting.follow(context, properties)
    local turn = 0
    context:addCleanupHandler(function() turn = turn + 1 end) -- the properties end with the dialog
    local function ask()
        turn = turn + 1
        local mine, query = turn, properties.query
        if query == nil or query:find("^%s*$") then
            properties.count = ""
            return
        end
        LrTasks.startAsyncTask(function()
            LrTasks.sleep(PAUSE_S)
            if mine ~= turn then return end
            local answer, failure = Api.call("count", { query = { q = query }, timeout = 10 })
            if mine == turn then properties.count = text_of(answer, failure) end
        end, "catalogd count")
    end
    properties:addObserver("query", ask)
    ask()
end

return Counting
