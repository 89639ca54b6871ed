--[[ What Search and Find similar share: the hits of an answer become a collection, and a sentence says how many.
     Every function must be called in a task.

    Finding.show(context, catalog, answer, name, select)    `answer`: of /search or /similar
    Finding.remember(query)                        puts it before the queries asked before
    Finding.limits()                               the items of a popup menu
]]

local LrDialogs = import "LrDialogs"

local Api = require "Api"
local Batches = require "Batches"
local Collections = require "Collections"
local Dialogs = require "Dialogs"
local Matching = require "Matching"
local Preferences = require "Preferences"

local Finding = {}

local MOST_RECENT = 20
local LIMITS = { 20, 50, 100, 200, 500, 1000, 2000, 5000 }

function Finding.limits()
    local items = {}
    for place, limit in ipairs(LIMITS) do items[place] = { title = Dialogs.count(limit), value = limit } end
    return items
end

function Finding.remember(query)
    local recent = { query }
    for _, other in ipairs(Preferences.get("recent_queries")) do
        if other ~= query and #recent < MOST_RECENT then recent[#recent + 1] = other end
    end
    Preferences.set("recent_queries", recent)
end

local function say_missing(missing)
    Dialogs.say(LOC("$$$/Catalogd/Finding/AllMissing=catalogd found photos (^1), but none of them is in this Lightroom catalog.", Dialogs.count(missing)),
        LOC "$$$/Catalogd/Finding/AllMissingHow=Import their folder into Lightroom. If the photos are here under another path (another machine, a network drive), write the pair of paths into File > Plug-in Manager > catalogd > Path map.")
end

local function say_found(photos, missing)
    if missing == 0 then
        LrDialogs.showBezel(LOC("$$$/Catalogd/Finding/Found=catalogd: photos found: ^1", Dialogs.count(#photos)))
        return
    end
    Dialogs.say(LOC("$$$/Catalogd/Finding/Found=catalogd: photos found: ^1", Dialogs.count(#photos)),
        LOC("$$$/Catalogd/Finding/SomeMissing=Found, but not in this Lightroom catalog: ^1", Dialogs.count(missing)))
end

function Finding.show(context, catalog, answer, name, select)
    if #answer.hits == 0 then
        Dialogs.say(LOC "$$$/Catalogd/Finding/Nothing=No photo matches.", table.concat(answer.notes or {}, "\n"))
        return
    end
    local photos, missing, failure = Matching.photos(catalog, answer.hits)
    if not photos then return Api.report(failure) end
    if #photos == 0 then return say_missing(missing) end
    local progress = Batches.progress(context, LOC "$$$/Catalogd/Collections/Filling=catalogd fills a collection")
    local ok, problem = Collections.show(catalog, { sets = { "catalogd" }, name = name, photos = photos,
                                                    select = select }, progress)
    if not ok then return Batches.report(problem) end
    say_found(photos, missing)
end

return Finding
