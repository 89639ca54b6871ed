--[[ The dialogs of Take back what catalogd wrote. Every function must be called in a task.

    TakeBackDialogs.ask(catalog)    → photos to look at, or nil when there are none or the person leaves
    TakeBackDialogs.is_agreed(plan) → whether the person has seen what goes and wants it
    TakeBackDialogs.say(plan, written, failure, cancelled)    what became of it
]]

local LrDialogs = import "LrDialogs"
local LrView = import "LrView"

local Batches = require "Batches"
local Dialogs = require "Dialogs"
local Keywords = require "Keywords"
local Telling = require "Telling"

local TakeBackDialogs = {}

-- Every photo that has something of ours, as an array and as a set.
local function written_to(catalog)
    local all, seen = {}, {}
    for _, id in ipairs({ "written", "photoId" }) do
        for _, photo in ipairs(catalog:findPhotosWithProperty(_PLUGIN.id, id)) do
            if not seen[photo] then seen[photo], all[#all + 1] = true, photo end
        end
    end
    return all, seen
end

-- The photos to look at: those selected, or all that catalogd ever wrote to; nil when the person leaves.
function TakeBackDialogs.ask(catalog)
    local all, seen = written_to(catalog)
    if #all == 0 then
        Dialogs.say(LOC "$$$/Catalogd/TakeBack/None=catalogd has written nothing into this Lightroom catalog.")
        return nil
    end
    local chosen = {}
    for _, photo in ipairs(catalog:getTargetPhoto() and catalog:getTargetPhotos() or {}) do
        if seen[photo] then chosen[#chosen + 1] = photo end
    end
    if #chosen == 0 then
        local answer = LrDialogs.confirm(LOC("$$$/Catalogd/TakeBack/All=Look through all ^1 photos that catalogd wrote to?", Dialogs.count(#all)),
            LOC "$$$/Catalogd/TakeBack/AllHow=None of them is selected.", LOC "$$$/Catalogd/TakeBack/Look=Look")
        return answer == "ok" and all or nil
    end
    local answer = LrDialogs.confirm(LOC("$$$/Catalogd/TakeBack/Which=Take back from the ^1 selected photos, or from all ^2 that catalogd wrote to?", Dialogs.count(#chosen), Dialogs.count(#all)),
        nil, LOC "$$$/Catalogd/TakeBack/Selected=Selected", LOC "$$$/Catalogd/TakeBack/Cancel=Cancel", LOC "$$$/Catalogd/TakeBack/Every=All")
    if answer == "other" then return all end
    return answer == "ok" and chosen or nil
end

function TakeBackDialogs.is_agreed(plan)
    local f, lines = LrView.osFactory(), Telling.counts(plan)
    for _, line in ipairs(Telling.kept(plan)) do lines[#lines + 1] = line end
    local result = LrDialogs.presentModalDialog({
        title = LOC("$$$/Catalogd/TakeBack/Title=Take back from ^1 photos", Dialogs.count(#plan.items)),
        actionVerb = LOC "$$$/Catalogd/TakeBack/Do=Take back",
        contents = f:column({ Dialogs.lines(f, lines), Telling.view(f, Telling.examples(plan), 320) }),
    })
    return result == "ok"
end

function TakeBackDialogs.say(plan, written, failure, cancelled)
    if failure then
        return Batches.report(failure, LOC("$$$/Catalogd/TakeBack/Partly=It was taken back from ^1 photos before. Choose the command again for the rest.", Dialogs.count(written)))
    end
    local lines = Telling.kept(plan)
    local empty = Keywords.unused(plan.removed)
    if #empty > 0 then
        lines[#lines + 1] = LOC("$$$/Catalogd/TakeBack/Empty=^1 keywords are on no photo now (^2). Lightroom lets no plug-in delete keywords: Metadata > Purge Unused Keywords does.", Dialogs.count(#empty), table.concat(empty, ", ", 1, math.min(#empty, 10)))
    end
    local title = cancelled and LOC("$$$/Catalogd/TakeBack/Cancelled=Cancelled. It was taken back from ^1 photos before.", Dialogs.count(written))
        or LOC("$$$/Catalogd/TakeBack/Done=It was taken back from ^1 photos.", Dialogs.count(written))
    Dialogs.say(title, table.concat(lines, "\n"))
end

return TakeBackDialogs
