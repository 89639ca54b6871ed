-- Library › Plug-in Extras › Cull…: the best of each moment, as collections; flags and labels only when asked for.

local LrApplication = import "LrApplication"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"

local Api = require "Api"
local Batches = require "Batches"
local CullDialogs = require "CullDialogs"
local CullResults = require "CullResults"
local Dialogs = require "Dialogs"
local Matching = require "Matching"
local Moments = require "Moments"

local MOST_PHOTOS = 10000 -- of one request to catalogd
local TIMEOUT_S = 300 -- thumbnails may have to be made

local function question(count)
    return LOC("$$$/Catalogd/Cull/Question=Cull ^1 photos?", count)
end

-- {photo_id → photos}, and the ids, of those that catalogd knows.
local function ids_of(rows, photos)
    local ids, of_id = {}, {}
    for _, photo in ipairs(photos) do
        local id = rows[photo].photo_id
        if id and not of_id[id] then of_id[id], ids[#ids + 1] = {}, id end
        if id then table.insert(of_id[id], photo) end
    end
    return ids, of_id
end

LrFunctionContext.postAsyncTaskWithContext("catalogd cull", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog = LrApplication.activeCatalog()
    local photos = Dialogs.photos_to_use(catalog, question, LOC "$$$/Catalogd/Cull/Verb=Cull")
    if not photos then return end
    if #photos > MOST_PHOTOS then
        return Dialogs.say(LOC("$$$/Catalogd/Cull/TooMany=Cull takes up to ^1 photos at once: select fewer.", Dialogs.count(MOST_PHOTOS)))
    end
    local looking = Batches.progress(context, LOC "$$$/Catalogd/Write/Looking=catalogd looks up results")
    local rows, failure, is_cancelled = Matching.lookup(catalog, photos, { "summary" }, looking)
    looking:done()
    if is_cancelled then return nil end
    if not rows then return Api.report(failure) end
    local ids, of_id = ids_of(rows, photos)
    if #ids == 0 then return Dialogs.say(LOC "$$$/Catalogd/Cull/Unknown=catalogd does not know these photos yet: choose Analyze selected photos first.") end
    local asked = CullDialogs.ask(context, #ids)
    if not asked then return end
    local answer, problem = Api.call("cull", { body = { photo_ids = ids, keep = asked.keep }, timeout = TIMEOUT_S })
    if not answer then return Api.report(problem) end
    local groups = Moments.groups(answer, of_id)
    if not CullDialogs.is_agreed(answer, groups) then return end
    local ok, trouble = CullResults.collect(context, catalog, groups, Moments.day(answer))
    if not ok then return Batches.report(trouble) end
    local marked, bad = CullResults.mark(context, catalog, groups, asked)
    if bad then
        return Batches.report(bad, LOC("$$$/Catalogd/Cull/Partly=The collections are there; ^1 photos got a flag or a label before.", Dialogs.count(marked)))
    end
    Dialogs.say(LOC("$$$/Catalogd/Cull/Done=^1 picks of ^2 moments are in the collection set catalogd.", Dialogs.count(#groups.pick), Dialogs.count(#answer.moments)),
        marked > 0 and LOC("$$$/Catalogd/Cull/Marked=^1 photos got a flag or a label; Take back what catalogd wrote… removes them.", Dialogs.count(marked)) or nil)
end)
