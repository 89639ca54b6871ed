-- Library › Plug-in Extras › Write results to Lightroom…: what catalogd found becomes metadata, after a look at it.

local LrApplication = import "LrApplication"
local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"
local LrView = import "LrView"

local Batches = require "Batches"
local Changes = require "Changes"
local Dialogs = require "Dialogs"
local Photos = require "Photos"
local Preferences = require "Preferences"
local Telling = require "Telling"
local Words = require "Words"
local Writing = require "Writing"

local bind = LrView.bind

local function question(count)
    return LOC("$$$/Catalogd/Write/Question=Look up results for ^1 photos?", count)
end

local function choices(f, properties)
    local column = { bind_to_object = properties, spacing = f:control_spacing() }
    for _, row in ipairs(Changes.FIELDS) do
        if row[1] ~= "alt_text" or Photos.has_alt_text() then
            column[#column + 1] = f:checkbox({ title = Telling.field(row[1]), value = bind("write_" .. row[1]) })
        end
    end
    column[#column + 1] = f:separator({ fill_horizontal = 1 })
    column[#column + 1] = f:checkbox({ title = LOC "$$$/Catalogd/Write/Copies=Virtual copies too", value = bind "copies" })
    column[#column + 1] = f:static_text({ title = LOC("$$$/Catalogd/Write/Rule=Keywords go below “^1”. What you wrote yourself is never replaced.", Preferences.get("keyword_parent")) })
    return f:column(column)
end

-- The policy, or nil when the person leaves.
local function ask(context)
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

local function is_agreed(plan)
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

local function say(plan, written, failure, cancelled)
    if failure then Batches.report(failure) end
    local title = cancelled and LOC("$$$/Catalogd/Write/Cancelled=Cancelled. ^1 photos were written before.", Dialogs.count(written))
        or LOC("$$$/Catalogd/Write/Done=^1 photos were written.", Dialogs.count(written))
    local undo = LOC "$$$/Catalogd/Write/Undo=Edit > Undo takes back 200 photos at a time; Take back what catalogd wrote… takes back all of it."
    Dialogs.say(title, table.concat(joined(Telling.kept(plan), Telling.skipped(plan), { undo }), "\n"))
end

LrFunctionContext.postAsyncTaskWithContext("catalogd write", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog = LrApplication.activeCatalog()
    local photos = Dialogs.photos_to_use(catalog, question, LOC "$$$/Catalogd/Write/Verb=Look up")
    local policy = photos and ask(context)
    if not policy then return end
    local looking = Batches.progress(context, LOC "$$$/Catalogd/Write/Looking=catalogd looks up results")
    local plan, failure, cancelled = Writing.plan(catalog, photos, looking, policy)
    looking:done()
    if failure then return Batches.report(failure) end
    if cancelled then return Dialogs.say(LOC "$$$/Catalogd/Write/Nothing=Nothing was written.") end
    if #plan.items == 0 then
        return Dialogs.say(LOC "$$$/Catalogd/Write/Same=There is nothing to write.",
            table.concat(joined(Telling.kept(plan), Telling.skipped(plan)), "\n"))
    end
    if not is_agreed(plan) then return end
    local writing = Batches.progress(context, LOC "$$$/Catalogd/Write/Writing=catalogd writes results")
    say(plan, Writing.write(catalog, plan, writing, LOC "$$$/Catalogd/Write/Step=Write catalogd results"))
end)
