--[[ The dialogs of Read from Lightroom. Every function must be called in a task.

    ReadDialogs.ask(context, selected) → {all =, changed =, collections =}, or nil; `selected`: how many photos
    ReadDialogs.before(told)           → what was read before a failure, as text, or nil when it is nothing
    ReadDialogs.say(told, cancelled)   what became of it: `told` of Reading.lua
]]

local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrView = import "LrView"

local Dialogs = require "Dialogs"
local Preferences = require "Preferences"

local ReadDialogs = {}

local bind = LrView.bind
local MOST_REFUSED = 5 -- reasons that are shown

local function contents(f, properties, selected)
    return f:column({
        bind_to_object = properties,
        spacing = f:control_spacing(),
        f:static_text({ title = LOC "$$$/Catalogd/Read/What=Ratings, flags, labels, titles, captions, keywords, people, positions and places are read. Lightroom's catalog is not changed." }),
        f:radio_button({ title = LOC "$$$/Catalogd/Read/All=All photos of this catalog", value = bind "scope", checked_value = "all" }),
        f:radio_button({ title = LOC("$$$/Catalogd/Read/Selected=The ^1 selected photos", Dialogs.count(selected)), value = bind "scope", checked_value = "selected", enabled = selected > 0 }),
        f:checkbox({ title = LOC "$$$/Catalogd/Read/Changed=Only photos that Lightroom says were edited since (quick; may miss some)", value = bind "changed" }),
        f:checkbox({ title = LOC "$$$/Catalogd/Read/Collections=Collections too, as albums", value = bind "collections" }),
    })
end

function ReadDialogs.ask(context, selected)
    local properties = LrBinding.makePropertyTable(context)
    properties.scope = selected > 0 and "selected" or "all"
    properties.changed, properties.collections = Preferences.get("read_changed"), true
    local result = LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Read/Title=Read from Lightroom",
        contents = contents(LrView.osFactory(), properties, selected),
        actionVerb = LOC "$$$/Catalogd/Read/Do=Read",
    })
    if result ~= "ok" then return nil end
    Preferences.set("read_changed", properties.changed)
    return { all = properties.scope == "all", changed = properties.changed, collections = properties.collections }
end

function ReadDialogs.before(told)
    if told.read == 0 then return nil end
    return LOC("$$$/Catalogd/Read/Partly=^1 photos were read before, and stay. Choose the command again for the rest.", Dialogs.count(told.read))
end

function ReadDialogs.say(told, cancelled)
    local lines = { LOC("$$$/Catalogd/Read/Told=^1 new or changed, ^2 known already.", Dialogs.count(told.taken), Dialogs.count(told.unchanged)) }
    if told.waiting > 0 then
        lines[#lines + 1] = LOC("$$$/Catalogd/Read/Waiting=^1 wait until catalogd has indexed their photos.", Dialogs.count(told.waiting))
    end
    if told.videos > 0 then lines[#lines + 1] = LOC("$$$/Catalogd/Read/Videos=^1 videos were left out.", Dialogs.count(told.videos)) end
    for place, one in ipairs(told.refused) do
        if place <= MOST_REFUSED then lines[#lines + 1] = LOC("$$$/Catalogd/Read/Refused=Not taken: ^1", tostring(one.reason)) end
    end
    local title = cancelled and LOC("$$$/Catalogd/Read/Cancelled=Cancelled. ^1 photos were read before.", Dialogs.count(told.read))
        or LOC("$$$/Catalogd/Read/Done=^1 photos were read.", Dialogs.count(told.read))
    Dialogs.say(title, table.concat(lines, "\n"))
end

return ReadDialogs
