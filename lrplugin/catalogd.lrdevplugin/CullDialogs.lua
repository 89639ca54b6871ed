--[[ The dialogs of Cull. Every function must be called in a task.

    CullDialogs.ask(context, count) → {keep = picks in each moment, flags =, labels =}, or nil
    CullDialogs.is_agreed(answer, groups) → whether the person has seen what was chosen and wants it
]]

local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrView = import "LrView"

local Dialogs = require "Dialogs"
local Moments = require "Moments"
local Telling = require "Telling"

local CullDialogs = {}

local bind = LrView.bind
local MOST_MOMENTS = 100 -- in the preview
local KEEPS = { 1, 2, 3, 5 } -- picks in each moment

local function keep_items()
    local items = {}
    for place, number in ipairs(KEEPS) do items[place] = { title = tostring(number), value = number } end
    return items
end

function CullDialogs.ask(context, count)
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
                f:popup_menu({ value = bind "keep", items = keep_items() }),
            }),
            f:checkbox({ title = LOC "$$$/Catalogd/Cull/Flags=Flag the picks that have no flag yet", value = bind "flags" }),
            f:checkbox({ title = LOC "$$$/Catalogd/Cull/Labels=Label picks green and alternates red, where there is no label", value = bind "labels" }),
        }),
    })
    return result == "ok" and { keep = properties.keep, flags = properties.flags, labels = properties.labels } or nil
end

function CullDialogs.is_agreed(answer, groups)
    local f = LrView.osFactory()
    local counts = LOC("$$$/Catalogd/Cull/Counts=^1 moments: ^2 picks, ^3 alternates, ^4 in protected series", Dialogs.count(#answer.moments), Dialogs.count(#groups.pick), Dialogs.count(#groups.alternate), Dialogs.count(#groups.protected))
    return LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Cull/PreviewTitle=The best of each moment",
        actionVerb = LOC "$$$/Catalogd/Cull/Do=Make collections",
        contents = f:column({
            f:static_text({ title = counts }),
            Telling.view(f, Moments.lines(answer, MOST_MOMENTS), 400),
        }),
    }) == "ok"
end

return CullDialogs
