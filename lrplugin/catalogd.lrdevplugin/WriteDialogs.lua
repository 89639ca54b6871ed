--[[ The dialogs of Write results to Lightroom. Every function must be called in a task.

    WriteDialogs.ask(context)    → policy of Changes.lua, or nil when the person leaves
    WriteDialogs.is_agreed(plan) → whether the person has seen the changes and wants them
    WriteDialogs.say(plan, written, failure, cancelled)    what became of it
    WriteDialogs.rest(plan)      what stays and what is left out, as text
]]

local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrView = import "LrView"

local Batches = require "Batches"
local Changes = require "Changes"
local Dialogs = require "Dialogs"
local Photos = require "Photos"
local Preferences = require "Preferences"
local Telling = require "Telling"
local Words = require "Words"

local WriteDialogs = {}

local bind = LrView.bind

local function choices(f, properties)
    local column = { bind_to_object = properties, spacing = f:control_spacing() }
    for _, row in ipairs(Changes.FIELDS) do
        if row[1] ~= "alt_text" or Photos.has_alt_text() then
            column[#column + 1] = f:checkbox({ title = Telling.field(row[1]), value = bind("write_" .. row[1]) })
        end
    end
    column[#column + 1] = f:separator({ fill_horizontal = 1 })
    column[#column + 1] = f:checkbox({ title = LOC "$$$/Catalogd/Write/Copies=Virtual copies too", value = bind "copies" })
    local parent = Words.path(Words.levels(Preferences.get("keyword_parent")))
    local rule = parent == "" and LOC "$$$/Catalogd/Write/RuleTop=Keywords go to the top of the list. What you wrote yourself is never replaced."
        or LOC("$$$/Catalogd/Write/Rule=Keywords go below “^1”. What you wrote yourself is never replaced.", parent)
    column[#column + 1] = f:static_text({ title = rule })
    return f:column(column)
end

-- The policy, or nil when the person leaves.
function WriteDialogs.ask(context)
    local properties, fields = LrBinding.makePropertyTable(context), {}
    local before = Preferences.get("write_fields")
    for _, row in ipairs(Changes.FIELDS) do
        local chosen = before[row[1]]
        if chosen == nil then chosen = row[2] end
        properties["write_" .. row[1]] = chosen
    end
    properties.copies = Preferences.get("include_copies")
    local result = LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Write/Title=Write results to Lightroom",
        contents = choices(LrView.osFactory(), properties),
        actionVerb = LOC "$$$/Catalogd/Write/Preview=Preview…",
    })
    if result ~= "ok" then return nil end
    for _, row in ipairs(Changes.FIELDS) do fields[row[1]] = properties["write_" .. row[1]] end
    Preferences.set("write_fields", fields)
    return { fields = fields, include_copies = properties.copies, alt_text = Photos.has_alt_text(),
             parent = Words.path(Words.levels(Preferences.get("keyword_parent"))),
             people_parent = Words.path(Words.levels(Preferences.get("people_parent"))) }
end

local function joined(...)
    local lines = {}
    for _, part in ipairs({ ... }) do
        for _, line in ipairs(part) do lines[#lines + 1] = line end
    end
    return lines
end

function WriteDialogs.rest(plan)
    return table.concat(joined(Telling.kept(plan), Telling.skipped(plan)), "\n")
end

function WriteDialogs.is_agreed(plan)
    local f = LrView.osFactory()
    local result = LrDialogs.presentModalDialog({
        title = LOC("$$$/Catalogd/Write/PreviewTitle=Changes in ^1 photos", Dialogs.count(#plan.items)),
        actionVerb = LOC "$$$/Catalogd/Write/Do=Write",
        contents = f:column({
            Dialogs.lines(f, joined(Telling.counts(plan), Telling.kept(plan), Telling.skipped(plan))),
            f:static_text({ title = LOC "$$$/Catalogd/Write/Examples=The first photos, before → after:" }),
            Telling.view(f, Telling.examples(plan), 320),
        }),
    })
    return result == "ok"
end

function WriteDialogs.say(plan, written, failure, cancelled)
    if failure then
        return Batches.report(failure, LOC("$$$/Catalogd/Write/Partly=^1 photos were written before. Choose the command again for the rest; Take back what catalogd wrote… takes back what was written.", Dialogs.count(written)))
    end
    local title = cancelled and LOC("$$$/Catalogd/Write/Cancelled=Cancelled. ^1 photos were written before.", Dialogs.count(written))
        or LOC("$$$/Catalogd/Write/Done=^1 photos were written.", Dialogs.count(written))
    local undo = LOC "$$$/Catalogd/Write/Undo=Edit > Undo takes back 200 photos at a time; Take back what catalogd wrote… takes back all of it."
    Dialogs.say(title, table.concat(joined(Telling.kept(plan), Telling.skipped(plan), { undo }), "\n"))
end

return WriteDialogs
