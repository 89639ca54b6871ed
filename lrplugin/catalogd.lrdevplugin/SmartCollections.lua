-- Library › Plug-in Extras › Smart collections…: a set of them over the custom fields, which fill by themselves.

local LrApplication = import "LrApplication"
local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"
local LrView = import "LrView"

local Batches = require "Batches"
local Collections = require "Collections"
local Dialogs = require "Dialogs"
local SmartRules = require "SmartRules"

local NAMES = {
    sharp = LOC "$$$/Catalogd/Smart/Sharp=Sharp and unrated",
    sharpest = LOC "$$$/Catalogd/Smart/Sharpest=Sharpest (90 and more)",
    blurred = LOC "$$$/Catalogd/Smart/Blurred=Blurred, without a flag",
    light = LOC "$$$/Catalogd/Smart/Light=Too dark or too bright",
    one_face = LOC "$$$/Catalogd/Smart/OneFace=One face",
    groups = LOC "$$$/Catalogd/Smart/Groups=Three faces and more",
    captions = LOC "$$$/Catalogd/Smart/Captions=Caption written by catalogd",
    unknown = LOC "$$$/Catalogd/Smart/Unknown=Without results of catalogd",
}

-- {id → true}, or nil when the person leaves.
local function ask(context, all)
    local f, properties = LrView.osFactory(), LrBinding.makePropertyTable(context)
    local column = { bind_to_object = properties, spacing = f:control_spacing() }
    for _, one in ipairs(all) do
        properties["make_" .. one.id] = true
        column[#column + 1] = f:checkbox({ title = NAMES[one.id], value = LrView.bind("make_" .. one.id) })
    end
    column[#column + 1] = f:static_text({ title = LOC "$$$/Catalogd/Smart/Hint=They show photos to which results were written (Write results to Lightroom…). One that is there already stays as it is." })
    local result = LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Smart/Title=Smart collections",
        contents = f:column(column),
        actionVerb = LOC "$$$/Catalogd/Smart/Do=Make",
    })
    if result ~= "ok" then return nil end
    local chosen = {}
    for _, one in ipairs(all) do chosen[one.id] = properties["make_" .. one.id] end
    return chosen
end

LrFunctionContext.postAsyncTaskWithContext("catalogd smart collections", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog, all, made = LrApplication.activeCatalog(), SmartRules.all(_PLUGIN.id), 0
    local chosen = ask(context, all)
    if not chosen then return end
    local set, trouble = Collections.set(catalog, { "catalogd", LOC "$$$/Catalogd/Smart/Set=Smart collections" })
    if not set then return Batches.report(trouble) end
    local ok, failure = Batches.write(catalog, LOC "$$$/Catalogd/Smart/Step=Smart collections of catalogd", function()
        for _, one in ipairs(all) do
            local done = chosen[one.id] and catalog:createSmartCollection(NAMES[one.id], one.rules, set, true)
            if done then made = made + 1 end
        end
    end)
    if not ok then return Batches.report(failure) end
    Dialogs.say(LOC("$$$/Catalogd/Smart/Made=^1 smart collections are in the collection set catalogd.", Dialogs.count(made)),
        LOC "$$$/Catalogd/Smart/MadeHow=Delete those that you don't need in the Collections panel; no photo is changed by that.")
end)
