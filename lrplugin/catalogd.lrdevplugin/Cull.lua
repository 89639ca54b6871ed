-- Library › Plug-in Extras › Cull…: the best of each moment, as collections; flags and labels only when asked for.

local LrApplication = import "LrApplication"
local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"
local LrView = import "LrView"

local Api = require "Api"
local Batches = require "Batches"
local Collections = require "Collections"
local Dialogs = require "Dialogs"
local Matching = require "Matching"
local Moments = require "Moments"
local Telling = require "Telling"
local Writing = require "Writing"

local MOST_PHOTOS = 10000 -- of one request to catalogd
local MOST_MOMENTS = 100 -- in the preview
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

local function ask(context, count)
    local f, properties = LrView.osFactory(), LrBinding.makePropertyTable(context)
    properties.keep, properties.flags, properties.labels = 1, false, false
    local result = LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Cull/Title=Cull",
        actionVerb = LOC "$$$/Catalogd/Cull/Preview=Preview…",
        contents = f:column({
            bind_to_object = properties,
            spacing = f:control_spacing(),
            f:static_text({ title = LOC("$$$/Catalogd/Cull/What=^1 photos are divided into moments, and the shots of each compared.", Dialogs.count(count)) }),
            f:row({
                f:static_text({ title = LOC "$$$/Catalogd/Cull/Keep=Picks in each moment:" }),
                f:popup_menu({ value = LrView.bind "keep", items = { { title = "1", value = 1 }, { title = "2", value = 2 }, { title = "3", value = 3 }, { title = "5", value = 5 } } }),
            }),
            f:checkbox({ title = LOC "$$$/Catalogd/Cull/Flags=Flag the picks that have no flag yet", value = LrView.bind "flags" }),
            f:checkbox({ title = LOC "$$$/Catalogd/Cull/Labels=Label picks green and alternates red, where there is no label", value = LrView.bind "labels" }),
        }),
    })
    return result == "ok" and { keep = properties.keep, flags = properties.flags, labels = properties.labels } or nil
end

local function is_agreed(answer, groups)
    local f = LrView.osFactory()
    local counts = LOC("$$$/Catalogd/Cull/Counts=^1 moments: ^2 picks, ^3 alternates, ^4 in protected series", Dialogs.count(#answer.moments), Dialogs.count(#groups.pick), Dialogs.count(#groups.alternate), Dialogs.count(#groups.protected))
    return LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Cull/PreviewTitle=The best of each moment",
        actionVerb = LOC "$$$/Catalogd/Cull/Do=Make collections",
        contents = f:column({ f:static_text({ title = counts }), Telling.view(f, Moments.lines(answer, MOST_MOMENTS), 400) }),
    }) == "ok"
end

-- The picks last: they are what the grid shows then.
local function collect(catalog, groups, day)
    local names = { { "protected", LOC "$$$/Catalogd/Cull/Protected=Protected brackets" },
                    { "alternate", LOC "$$$/Catalogd/Cull/Alternates=Alternates" },
                    { "pick", LOC "$$$/Catalogd/Cull/Picks=Picks" } }
    local sets = { "catalogd", Collections.name(LOC("$$$/Catalogd/Cull/Set=Cull ^1", day)) }
    for _, row in ipairs(names) do
        if #groups[row[1]] > 0 then
            local ok, failure = Collections.show(catalog, { sets = sets, name = row[2], photos = groups[row[1]] })
            if not ok then return nil, failure end
        end
    end
    return true
end

local function mark(context, catalog, groups, asked)
    local items = Moments.results(groups, asked)
    if #items == 0 then return 0 end
    local policy = { fields = { pick = asked.flags, label = asked.labels }, parent = "" }
    local progress = Batches.progress(context, LOC "$$$/Catalogd/Cull/Marking=catalogd sets flags and labels")
    return Writing.write(catalog, { items = items, policy = policy, removed = {} }, progress, LOC "$$$/Catalogd/Cull/Step=Flags and labels of Cull")
end

LrFunctionContext.postAsyncTaskWithContext("catalogd cull", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog = LrApplication.activeCatalog()
    local photos = Dialogs.photos_to_use(catalog, question, LOC "$$$/Catalogd/Cull/Verb=Cull")
    if not photos then return end
    if #photos > MOST_PHOTOS then
        return Dialogs.say(LOC("$$$/Catalogd/Cull/TooMany=Cull takes up to ^1 photos at once: select fewer.", Dialogs.count(MOST_PHOTOS)))
    end
    local rows, failure = Matching.lookup(catalog, photos, { "summary" })
    if not rows then return Api.report(failure) end
    local ids, of_id = ids_of(rows, photos)
    if #ids == 0 then return Dialogs.say(LOC "$$$/Catalogd/Cull/Unknown=catalogd does not know these photos yet: choose Analyze selected photos first.") end
    local asked = ask(context, #ids)
    if not asked then return end
    local answer, problem = Api.call("cull", { body = { photo_ids = ids, keep = asked.keep }, timeout = TIMEOUT_S })
    if not answer then return Api.report(problem) end
    local groups = Moments.groups(answer, of_id)
    if not is_agreed(answer, groups) then return end
    local ok, trouble = collect(catalog, groups, Moments.day(answer))
    if not ok then return Batches.report(trouble) end
    local marked, bad = mark(context, catalog, groups, asked)
    if bad then return Batches.report(bad) end
    Dialogs.say(LOC("$$$/Catalogd/Cull/Done=^1 picks of ^2 moments are in the collection set catalogd.", Dialogs.count(#groups.pick), Dialogs.count(#answer.moments)),
        marked > 0 and LOC("$$$/Catalogd/Cull/Marked=^1 photos got a flag or a label; Take back what catalogd wrote… removes them.", Dialogs.count(marked)) or nil)
end)
